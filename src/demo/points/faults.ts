import { curl, setFault, startLoad } from '../../lab/clients.ts'
import { envoyAdmin } from '../../lab/command-lines.ts'
import { startServer } from '../../lab/pods.ts'
import { pause } from '../../lab/wait.ts'
import type { Stage, StagedNode } from '../stage.ts'
import { expect, type Point } from './point.ts'

/** The part of Envoy's `/clusters?format=json` that is read. */
interface Clusters {
  readonly cluster_statuses: readonly {
    readonly name: string
    readonly host_statuses?: readonly {
      readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } }
      readonly health_status: { readonly failed_outlier_check?: boolean }
    }[]
  }[]
}

export const faults: Point = {
  title: 'Endpoints fail, and their clients do not notice',
  explanation: 'Under 200 GET/s, whoami-1b starts to answer 500 and the process of whoami-2a is killed.',
  async run(stage, show) {
    const { network, client, hostsFile, pods } = stage
    const [sick, dead] = [pods.get('whoami-1b')!, pods.get('whoami-2a')!]
    const options = { url: 'http://whoami.whoami.svc/', connections: 8, rate: 200, hostsFile }
    const load = await startLoad(network, client, options)
    await pause(1000)
    show.command('whoami-1b', 'curl -X POST "http://127.0.0.1:8080/fault?status=500"')
    await setFault(sick, 8080, 500)
    const failing = Date.now()
    show.command('whoami-2a', `kill -9 ${dead.server.pid}`)
    dead.server.kill('SIGKILL')
    await show.progress('requests go on', pause(3000))
    const ejected = await ejectedEndpoints(stage.nodes[0]!, stage)
    const report = await load.stop()

    show.table(
      ['endpoint', 'good answers', 'the last of them'],
      Object.entries(report.endpoints).map(([name, { requests, last }]) => [
        name,
        requests,
        last > failing + 2500 ? 'to the end' : `${last > failing ? '+' : ''}${last - failing} ms from the fault`,
      ]),
    )
    const retried = await retries(stage.nodes[0]!)
    show.output(
      `${report.ok} good answers, errors: ${JSON.stringify(report.errors)}; Envoy tried again: ${retried}; ejected: ${ejected.join(', ') || 'none'}`,
    )

    await setFault(sick, 8080, 200)
    await startServer(network, dead, { http: [8080] })
    expect(report.ok === report.requests, `the client saw errors: ${JSON.stringify(report.errors)}`)
    expect(ejected.length > 0, 'no endpoint was ejected')
    return `${report.requests} GETs without an error while two of five endpoints failed; ejected: ${ejected.join(', ')}`
  },
}

async function ejectedEndpoints(node: StagedNode, { pods }: Stage): Promise<string[]> {
  const { stdout } = await curl(node, [`${envoyAdmin}/clusters?format=json`])
  const hosts = (JSON.parse(stdout) as Clusters).cluster_statuses.flatMap(cluster => cluster.host_statuses ?? [])
  const addresses = hosts
    .filter(host => host.health_status.failed_outlier_check)
    .map(host => host.address.socket_address)
  return addresses.map(({ address, port_value }) => {
    const pod = [...pods.values()].find(({ ip, ip6 }) => ip === address || ip6 === address)
    return `${pod?.name} (${address}:${port_value})`
  })
}

/** How many requests of whoami Envoy tried again. */
async function retries(node: StagedNode): Promise<string> {
  const { stdout } = await curl(node, [`${envoyAdmin}/stats?filter=whoami.*upstream_rq_retry$`])
  const counts = [...stdout.matchAll(/: (\d+)$/gm)].map(match => Number(match[1]))
  return counts.length === 0 ? 'unknown' : `${Math.max(...counts)} times`
}
