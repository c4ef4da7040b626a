/** How often the event loop turns while some work is done: others have their turn in between. */

export async function turnsDuring(work: () => unknown): Promise<number> {
  let turns = 0
  let next = setImmediate(count)
  function count(): void {
    turns++
    next = setImmediate(count)
  }
  try {
    await work()
    return turns
  } finally {
    clearImmediate(next)
  }
}
