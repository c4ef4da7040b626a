import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Envoy has taken what there was for it by then. */
const settleMs = 10_000

/**
 * Lets the heap double between two collections, until it settles. Nearly all that is made while everything is loaded
 * stays, so that to collect as often as the program's flags say (bin/lightpath) finds next to nothing, and takes a third
 * of the CPU time.
 */
export class LoadingHeap {
  #timer: NodeJS.Timeout | undefined

  begin(): void {
    setFlagsFromString('--heap-growing-percent=100')
  }

  /** Everything is loaded: collects what that left behind, soon, and lets the heap grow by as little as before. */
  end(): void {
    this.#timer = setTimeout(() => void this.settle(), settleMs)
  }

  /**
   * What `end` does in a while. Resolves when it is done. What stays lies between what goes, a few objects on each page,
   * and only as the last resort V8 moves all of it together and gives back the pages.
   */
  settle(): Promise<void> {
    setFlagsFromString('--heap-growing-percent=0')
    return majorCollection()({ type: 'major', flavor: 'last-resort', execution: 'async' })
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

/** V8's own, which only contexts have that are made after its flag was set. */
function majorCollection(): NodeJS.GCFunction {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as NodeJS.GCFunction
}
