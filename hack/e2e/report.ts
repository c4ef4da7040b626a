/**
 * Reads ginkgo's JSON report of a run and prints what passed, what did not, and how that differs from the baseline:
 * a list of tests' names, one a line. Exits with 1 when one of them, chosen by --focus and --skip, did not pass.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

/** Of ginkgo's report what is read here; times in nanoseconds. */
interface Spec {
  readonly ContainerHierarchyTexts: readonly string[] | null
  readonly LeafNodeType: string
  readonly LeafNodeText: string
  readonly State: string
  readonly NumAttempts: number
  readonly RunTime: number
  readonly Failure?: { readonly Message: string }
}
interface Suite {
  readonly RunTime: number
  readonly SpecReports: readonly Spec[] | null
}

interface Result {
  readonly name: string
  readonly outcome: 'passed' | 'passed at the second try' | 'failed' | 'skipped'
  readonly seconds: number
  /** Why it failed, or skipped itself. */
  readonly reason?: string
}

const { values: options } = parseArgs({
  options: {
    report: { type: 'string', default: '' },
    baseline: { type: 'string', default: '' },
    focus: { type: 'string', default: '' },
    skip: { type: 'string', default: '^$' },
    output: { type: 'string', default: 'text' },
    write: { type: 'boolean', default: false },
  },
})
const suites: readonly Suite[] = JSON.parse(readFileSync(options.report, 'utf8'))
const results = suites
  .flatMap(suite => suite.SpecReports ?? [])
  // Those that --focus and --skip left out were never tried.
  .filter(spec => spec.LeafNodeType === 'It' && spec.NumAttempts > 0)
  .map(result)
  .sort((a, b) => compareNames(a.name, b.name))
const passed = results.filter(({ outcome }) => outcome.startsWith('passed'))
const minutes = Math.round(suites.reduce((sum, suite) => sum + suite.RunTime, 0) / 60e9)

const chosen = (name: string) => new RegExp(options.focus).test(name) && !new RegExp(options.skip).test(name)
if (options.write) {
  const names = new Set([...readBaseline().filter(name => !chosen(name)), ...passed.map(({ name }) => name)])
  const lines = [...names].sort(compareNames).map(name => `${name}\n`)
  writeFileSync(options.baseline, lines.join(''))
}
const baseline = readBaseline().filter(chosen)
const passedNames = new Set(passed.map(({ name }) => name))
const lost = baseline.filter(name => !passedNames.has(name))
const gained = passed.filter(({ name }) => !baseline.includes(name)).map(({ name }) => name)

if (options.output === 'json') print(JSON.stringify({ minutes, results, lost, gained }, null, 2))
else {
  for (const { name, outcome, seconds, reason } of results) {
    print(`${outcome.padEnd(24)} ${String(Math.round(seconds)).padStart(4)} s  ${name}`)
    if (reason) print(`${' '.repeat(32)}${reason}`)
  }
  const count = (outcome: Result['outcome']) => results.filter(one => one.outcome === outcome).length
  print(
    `\n${passed.length} passed (${count('passed at the second try')} of them at the second try), ${count('failed')} failed, ` +
      `${count('skipped')} skipped themselves; ${minutes} min`,
  )
  print(`of the ${baseline.length} of the baseline ${baseline.length - lost.length} passed`)
  for (const name of lost) print(`- ${name}`)
  for (const name of gained) print(`+ ${name}`)
}
process.exitCode = lost.length > 0 ? 1 : 0

function result(spec: Spec): Result {
  const outcome =
    spec.State === 'skipped'
      ? 'skipped'
      : spec.State !== 'passed'
        ? 'failed'
        : spec.NumAttempts > 1
          ? 'passed at the second try'
          : 'passed'
  const reason = spec.Failure?.Message.split('\n').find(line => line.trim() !== '')
  return {
    name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' '),
    outcome,
    seconds: spec.RunTime / 1e9,
    ...(reason && !outcome.startsWith('passed') && { reason: reason.trim().slice(0, 300) }),
  }
}

function readBaseline(): readonly string[] {
  return readFileSync(options.baseline, 'utf8')
    .split('\n')
    .filter(name => name !== '')
}

function compareNames(a: string, b: string): number {
  return a.localeCompare(b, 'en')
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
