/** Alerts and dashboard of deploy/components/prometheus, evaluated by Prometheus's own test of rules. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import dashboard from '../../deploy/components/prometheus/lightpath.json' with { type: 'json' }
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
  evalTime = '30m',
) {
  const tests = {
    rule_files: ['rules.yaml'],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        alert_rule_test: alerts.map(alertname => ({ eval_time: evalTime, alertname, exp_alerts: [] })),
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

test('an overlay that is switched off is told after an hour, and by no other alert', options, async () => {
  const series = { 'lightpath_overlay_off{node="a"}': '1x100', 'lightpath_problems{node="a",code="LP408"}': '1x100' }
  const alerts = ['LightpathOverlayOff', 'LightpathProblems']
  await raised(alerts, series, [], 'after 30 minutes')
  await raised(alerts, series, ['LightpathOverlayOff'], 'after 70 minutes', '70m')
})

test(
  'a control plane that is cut off is told after a few minutes, and one that is not cut off is not',
  options,
  async () => {
    const age = 'lightpath_controlplane_facts_age_seconds{pod="a"}'
    await raised(['LightpathControlPlaneCutOff'], { [age]: '0x20 0+60x20' }, ['LightpathControlPlaneCutOff'])
    await raised(['LightpathControlPlaneCutOff'], { [age]: '0x40' }, [])
  },
)

test('what nodes cannot reach for long is told, however many replicas say so', options, async () => {
  const excluded = (pod: string) => `lightpath_controlplane_excluded{of="endpoint",pod="${pod}"}`
  const alerts = ['LightpathExcluded']
  await raised(alerts, { [excluded('a')]: '1x40', [excluded('b')]: '1x40' }, alerts)
  await raised(alerts, { [excluded('a')]: '0x25 1x15' }, [])
})

/** @param series as for `raised` @param samples what each query has to give after 30 minutes */
async function shows(series: Readonly<Record<string, string>>, samples: Readonly<Record<string, readonly object[]>>) {
  const tests = {
    rule_files: ['rules.yaml'],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        promql_expr_test: Object.entries(samples).map(([expr, exp_samples]) => ({
          expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*'),
          eval_time: '30m',
          exp_samples,
        })),
      },
    ],
  }
  await writeFile(join(directory, 'tests.yaml'), JSON.stringify(tests))
  await run(promtool, ['test', 'rules', 'tests.yaml'], { cwd: directory }).catch(({ stdout, stderr }) =>
    assert.fail(`${stdout}${stderr}`),
  )
}

const queries = dashboard.panels.flatMap(({ title, targets }) => (targets ?? []).map(({ expr }) => ({ title, expr })))

test('a panel of the dashboard says 0 where there is nothing to show, in place of no data', options, async () => {
  assert.ok(queries.length > 10)
  await shows({}, Object.fromEntries(queries.map(({ expr }) => [expr, [{ labels: '{}', value: 0 }]])))
})

test('and answers without an error are 0 of 100, beside none of a Service that nobody calls', options, async () => {
  const { expr } = queries.find(({ title }) => title === 'Answers 5xx')!
  const answers = (service: string, code: string) =>
    `lightpath_requests_total{namespace="shop",service="${service}",code_class="${code}"}`
  const series = {
    [answers('good', '2xx')]: '0+60x40',
    [answers('half', '2xx')]: '0+60x40',
    [answers('half', '5xx')]: '0+60x40',
    [answers('idle', '2xx')]: '7x40',
  }
  const sample = (service: string, value: number) => ({ labels: `{namespace="shop",service="${service}"}`, value })
  await shows(series, { [expr]: [sample('good', 0), sample('half', 0.5)] })
})
