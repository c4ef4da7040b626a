import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { setDelay, startLoad } from '../../lab/clients.ts'
import type { LoadReport } from '../../lab/load-report.ts'
import { waitFor } from '../../lab/wait.ts'
import { askAt, type Stage } from '../stage.ts'
import { expect, type Point } from './point.ts'

const slow = 'whoami-1c'
const names = ['whoami-1b', slow, 'whoami-2a', 'whoami-2b']
const policies = [
  { policy: 'LEAST_REQUEST', name: 'by-requests', vip: '10.96.0.80' },
  { policy: 'PEAK_EWMA', name: 'by-latency', vip: '10.96.0.81' },
] as const

export const slowEndpoint: Point = {
  title: 'An endpoint becomes slow, and gets less',
  explanation: `${slow} takes 100 ms from now on. Two Services have the same four endpoints; one chooses by requests in flight, one by latency.`,
  async run(stage, show) {
    const { network, client } = stage
    writeServices(stage)
    for (const { name, vip } of policies)
      await waitFor(`${name} through Envoy`, 20_000, async () => /X-Envoy-Attempt-Count/.test(await askAt(stage, vip)))
    const run = async (requests: number): Promise<readonly LoadReport[]> => {
      const options = { connections: 10, rate: 150, requests }
      const loads = await Promise.all(
        policies.map(({ vip }) => startLoad(network, client, { url: `http://${vip}/`, ...options })),
      )
      return Promise.all(loads.map(load => load.report))
    }
    show.command(slow, 'curl -X POST "http://127.0.0.1:8080/fault?delay=100"')
    await setDelay(stage.pods.get(slow)!, 8080, 100)
    await run(150)
    const reports = await show.progress('requests go on', run(450))
    await setDelay(stage.pods.get(slow)!, 8080, 0)

    const share = ({ endpoints, requests }: LoadReport, name: string) =>
      `${(((endpoints[name]?.requests ?? 0) / requests) * 100).toFixed(0)} %`
    show.table(
      ['', ...policies.map(({ policy }) => policy)],
      [
        ...names.map(name => [name, ...reports.map(report => share(report, name))]),
        ...(['p50', 'p99'] as const).map(of => [
          of,
          ...reports.map(({ latencyMs }) => `${latencyMs![of].toFixed(0)} ms`),
        ]),
      ],
    )
    const [byRequests, byLatency] = reports as [LoadReport, LoadReport]
    for (const { errors } of reports) expect(Object.keys(errors).length === 0, `errors: ${JSON.stringify(errors)}`)
    const requests = (report: LoadReport) => report.endpoints[slow]?.requests ?? 0
    expect(requests(byLatency) < requests(byRequests), `${slow} got no less by latency`)
    return `${slow} got ${share(byRequests, slow)} of the requests by LEAST_REQUEST and ${share(byLatency, slow)} by PEAK_EWMA`
  },
}

function writeServices({ manifests, pods }: Stage): void {
  const endpoints = names.map(name => {
    const { node, ip } = pods.get(name)!
    return {
      addresses: [ip],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: node,
      targetRef: { kind: 'Pod', namespace: 'whoami', name },
    }
  })
  const objects = policies.flatMap(({ policy, name, vip }) => [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'whoami', annotations: { 'config.lightpath.cloud/http-lb-policy': policy } },
      spec: {
        clusterIP: vip,
        clusterIPs: [vip],
        ipFamilies: ['IPv4'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
      },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace: 'whoami', labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints,
    },
  ])
  const draft = join(manifests, '.slow.yaml.new')
  writeFileSync(draft, objects.map(object => stringify(object)).join('---\n'))
  renameSync(draft, join(manifests, 'slow.yaml'))
}
