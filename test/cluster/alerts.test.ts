/** The alerts of deploy/components/prometheus: when Prometheus raises them, by its own test of rules. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { cache } from './apiserver.ts'

const promtool = join(cache, 'promtool')
const options = { skip: existsSync(promtool) ? false : 'no promtool: tools/setup cluster takes it from Debian' }
const file = new URL('../../deploy/components/prometheus/rules.yaml', import.meta.url)
const run = promisify(execFile)

let directory: string

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lightpath-alerts-'))
  const { spec } = parse(await readFile(file, 'utf8'))
  await writeFile(join(directory, 'rules.yaml'), JSON.stringify(spec))
})

after(() => rm(directory, { recursive: true }))

/** Values once a minute, such as `0+1x10`, by the names of series; what is raised after 30 minutes, by alert. */
async function raised(
  alerts: readonly string[],
  series: Readonly<Record<string, string>>,
  expected: readonly string[],
  what = '',
) {
  const tests = {
    rule_files: ['rules.yaml'],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        alert_rule_test: alerts.map(alertname => ({ eval_time: '30m', alertname, exp_alerts: [] })),
      },
    ],
  }
  await writeFile(join(directory, 'tests.yaml'), JSON.stringify(tests))
  const found = await run(promtool, ['test', 'rules', 'tests.yaml'], { cwd: directory }).then(
    () => '',
    ({ stdout, stderr }) => `${stdout}${stderr}`,
  )
  // Where none is expected, promtool says which there are.
  assert.deepEqual(
    [...new Set(found.match(/(?<=alertname[:=] ?"?)\w+/g) ?? [])].toSorted(),
    expected.toSorted(),
    `${what}: ${found}`,
  )
}

const queued = 'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{node="a",ip_family="IPv4"}'
const synced = 'kubeproxy_sync_proxy_rules_last_timestamp_seconds{node="a",ip_family="IPv4"}'

test(
  'a kernel that does not follow is told, whenever the change came, and one that has nothing to do is not',
  options,
  async () => {
    const behind = 'LightpathKernelBehind'
    const cases: readonly [what: string, series: Readonly<Record<string, string>>, expected: readonly string[]][] = [
      ['never written', { [queued]: '60x40' }, [behind]],
      [
        'failing since a change that came 5 s after the last good one',
        { [queued]: '65x40', [synced]: '60x40' },
        [behind],
      ],
      ['nothing to do', { [queued]: '59x40', [synced]: '60x40' }, []],
      ['a change just now', { [queued]: '60x29 1800x10', [synced]: '60x40' }, []],
      ['changes all the time, and written', { [queued]: '1+60x40', [synced]: '0+60x40' }, []],
    ]
    for (const [what, series, expected] of cases) await raised([behind], series, expected, what)
  },
)

test(
  'an Envoy that refuses a resource once and is not told it again is told of as long as that is so',
  options,
  async () => {
    const problems = (values: string) => ({ 'lightpath_problems{node="a",code="LP301"}': values })
    const alerts = ['LightpathEnvoyRefuses', 'LightpathProblems']
    await raised(alerts, problems('0x20 1x20'), ['LightpathEnvoyRefuses'])
    await raised(alerts, problems('1x20 0x20'), [])
    await raised(alerts, { 'lightpath_problems{node="a",code="LP401"}': '2x40' }, ['LightpathProblems'])
  },
)

test('a blocked path is told where Envoy is up', options, async () => {
  const open = 'lightpath_path_open{node="a",family="IPv4"}'
  const up = 'lightpath_envoy_up{node="a"}'
  await raised(['LightpathPathBlocked'], { [open]: '0x40', [up]: '1x40' }, ['LightpathPathBlocked'])
  await raised(['LightpathPathBlocked'], { [open]: '1x40', [up]: '1x40' }, [])
  await raised(['LightpathPathBlocked', 'LightpathEnvoyDown'], { [open]: '0x40', [up]: '0x40' }, ['LightpathEnvoyDown'])
})
