import { askWhoami } from '../stage.ts'
import { expect, type Point } from './point.ts'

const proofs = [
  'X-Envoy-Attempt-Count: 1',
  'X-Envoy-Expected-Rq-Timeout-Ms: 5000',
  'X-Forwarded-Proto: http',
  'X-Request-Id: ',
]

export const request: Point = {
  title: 'A request from a pod goes through the node’s own Envoy',
  explanation: 'The pod knows nothing of it: it asks the Service. The 5000 is the annotation of examples/whoami.yaml.',
  async run(stage, show) {
    show.command('client', 'curl http://whoami.whoami.svc/')
    const answer = await askWhoami(stage)
    show.output(answer)
    for (const proof of proofs) expect(answer.includes(proof), `the answer has no ${proof}`)
    return `whoami was reached through Envoy: ${proofs.slice(0, 2).join(', ')}`
  },
}
