/** Measures: bench/run says with which arguments. */

import { parseArgs } from 'node:util'
import { experimentNames, findExperiment } from './experiments/all.ts'
import { enterOwnCgroup } from './lab/weights.ts'
import { writeReport } from './report/write.ts'
import type { Experiment } from './runner/experiment.ts'
import { isBusy, machine, versions } from './runner/machine.ts'
import { runAll } from './runner/run.ts'

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    resume: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})

if (flags.short && flags.full) fail('either --short or --full')
const chosen = (names.length > 0 ? names : experimentNames).map(find)
if (flags.list) {
  for (const { name, title, minutes } of chosen)
    console.log(`${name.padEnd(14)} ${title} (${minutes.short} min; --full ${minutes.full})`)
} else {
  enterOwnCgroup()
  const [where, what] = [await machine(), await versions()]
  console.log(
    `${where.cores} cores (${where.cpu}), ${where.memoryGB} GB, Linux ${what.kernel}, Node.js ${what.node}, ` +
      `Envoy ${what.envoy}, Kubernetes ${what.kubernetes}, Lightpath ${what.lightpath}`,
  )
  if (isBusy(where))
    console.log(`The machine is busy (load ${where.load}): repeat this on a quiet one before you trust it.`)
  const turn = flags.again ? 'again' : 'first'
  const failed = await runAll(chosen, {
    length: flags.full ? 'full' : 'short',
    turn,
    resume: flags.resume,
    versions: what,
    report: writeReport,
  })
  if (failed.length > 0) {
    console.error(`bench: failed: ${failed.join(', ')}; --resume goes on behind what is measured of them`)
    process.exitCode = 1
  }
}

function find(name: string): Experiment {
  return findExperiment(name) ?? fail(`there is no ${name}; there are ${experimentNames.join(', ')}`)
}

function fail(message: string): never {
  console.error(`bench: ${message}\nusage: bench/run [--short|--full] [--again] [--resume] [--list] [NAME...]`)
  process.exit(2)
}
