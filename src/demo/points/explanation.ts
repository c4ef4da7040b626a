import * as commandLines from '../../lab/command-lines.ts'
import { onNode } from '../stage.ts'
import { expect, type Point } from './point.ts'

export const explanation: Point = {
  title: 'Why is it so? lightpath explain',
  explanation:
    'What Kubernetes asked for, which settings apply, which endpoints this node uses, and what Envoy and the kernel acknowledged.',
  async run(stage, show) {
    const [node1] = stage.nodes
    show.command('node1', 'lightpath explain whoami/whoami')
    const { stdout } = await onNode(node1!, commandLines.explain('whoami/whoami', node1!.files))
    show.output(stdout)
    expect(stdout.includes('10.96.0.10'), 'it does not speak of the VIP')
    return 'explain told what applies on node1 and why'
  },
}
