import { startLoad } from '../../lab/clients.ts'
import * as commandLines from '../../lab/command-lines.ts'
import type { LoadReport } from '../../lab/load-report.ts'
import { onNode, overlayServes, type Stage } from '../stage.ts'
import { expect, type Point } from './point.ts'

const connections = 4

export const spread: Point = {
  title: 'Requests over keep-alive connections spread over all endpoints on both nodes',
  explanation: `1,000 requests over ${connections} connections; then the same with the overlay off, where the kernel chooses once a connection.`,
  async run(stage, show) {
    const [node1] = stage.nodes
    const withEnvoy = await load(stage)
    show.command('node1', 'lightpath overlay off')
    await onNode(node1!, commandLines.overlay('off'))
    const kernelOnly = await load(stage).finally(() => onNode(node1!, commandLines.overlay('on')))
    show.command('node1', 'lightpath overlay on')

    const names = [...stage.pods.values()].filter(pod => pod.name.startsWith('whoami-'))
    const count = (report: LoadReport, name: string) => report.endpoints[name]?.requests ?? 0
    show.table(
      ['endpoint', 'node', 'through Envoy', 'kernel layer alone'],
      names.map(({ name, node }) => [name, node, count(withEnvoy, name), count(kernelOnly, name)]),
    )
    show.output(
      `different endpoints on each of the ${connections} connections: ${perConnection(withEnvoy)} through Envoy, ${perConnection(kernelOnly)} by the kernel`,
    )

    for (const report of [withEnvoy, kernelOnly]) expect(report.ok === 1000, `errors: ${JSON.stringify(report.errors)}`)
    expect(withEnvoy.layers.envoy?.requests === 1000, 'not all requests went through Envoy')
    // whoami-2c is not ready.
    expect(Object.keys(withEnvoy.endpoints).length === names.length - 1, 'not every ready endpoint got requests')
    await overlayServes(stage)
    return `1,000 requests on ${connections} connections reached all ${names.length - 1} ready endpoints; by the kernel alone each connection stays at one`
  },
}

async function load({ network, client, hostsFile }: Stage): Promise<LoadReport> {
  const options = { url: 'http://whoami.whoami.svc/', connections, requests: 1000, hostsFile }
  return (await startLoad(network, client, options)).report
}

function perConnection(report: LoadReport): string {
  return report.endpointsPerConnection.join(', ')
}
