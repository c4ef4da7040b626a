import type { PathState } from '../../node/probes/watch.ts'

/** Says in words whether connections of pods reach Envoy. */
export function pathText(path: PathState): string {
  switch (path.outcome) {
    case 'open':
      return `open, tested from ${path.by}`
    case 'blocked':
      return `blocked, so the kernel layer serves: ${path.reason}${path.by === '' ? '' : ` (tested from ${path.by})`}`
    case 'absent':
      return 'none, this node has no address of that family'
    case 'untested':
      return 'not tested yet; it is when Envoy is up'
    case 'assumed':
      return 'not tested (--path-test off)'
  }
}
