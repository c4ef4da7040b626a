import { measureDeadNode } from '../../measure/failures/dead-node.ts'
import { experiment } from '../../runner/experiment.ts'

export const deadNode = experiment({
  name: 'dead-node',
  title: 'A node dies without a word',
  shows: `A node loses all its packets. By Lightpath nodes tell a control plane which endpoints they cannot reach, and all leave out what is
dead; kube-proxy goes on until Kubernetes takes its endpoints away. Both are under the same load at the same time.`,
  minutes: { short: 1.9, full: 8.5 },
  options: {
    short: { rounds: 1, seconds: 12, noticedAfter: 50 },
    full: { rounds: 3, seconds: 60, noticedAfter: 50 },
  },
  measure: measureDeadNode,
})
