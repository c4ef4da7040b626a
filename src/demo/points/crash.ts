import { askWhoami, overlayServes } from '../stage.ts'
import { expect, type Point } from './point.ts'

export const crash: Point = {
  title: 'Envoy and the agent both die, and traffic flows on',
  explanation:
    'The kernel steers to Envoy only while Envoy listens; without it the next connection goes straight to an endpoint.',
  async run(stage, show) {
    const [node1] = stage.nodes
    show.command('node1', `kill -9 ${node1!.agent.pid}   # the agent; neither is restarted for now`)
    await node1!.agent.down('SIGKILL')
    show.command('node1', `kill -9 ${node1!.envoy.pid}   # Envoy`)
    await node1!.envoy.down('SIGKILL')
    show.command('client', 'curl http://whoami.whoami.svc/')
    const next = await askWhoami(stage)
    show.output(next || 'no answer')

    const begun = performance.now()
    await Promise.all([node1!.agent.up(), node1!.envoy.up()])
    await show.progress('both are started again', overlayServes(stage))
    const back = ((performance.now() - begun) / 1000).toFixed(1)
    show.output(`both are started again: ${back} s later requests go through Envoy`)
    expect(/^Hostname: whoami-/.test(next), 'the next request got no answer')
    expect(!next.includes('X-Envoy-'), 'the next request still went through Envoy')
    return `the very next request was served by the kernel layer; Envoy was back in the path after ${back} s`
  },
}
