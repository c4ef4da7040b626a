/**
 * Returns what `make` made last, unless that is longer ago; everybody who asks meanwhile gets the same. A failure is
 * not kept.
 */
export function recently<T>(milliseconds: number, make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  let at = 0
  return () => {
    if (made === undefined || performance.now() - at > milliseconds) {
      made = make()
      at = performance.now()
      made.catch(() => {
        made = undefined
      })
    }
    return made
  }
}
