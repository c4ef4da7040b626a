/** A check that is made again and again, each some time after the one before. */

/**
 * @param share how much of the time the check may take: one that takes long is made more seldom
 * @returns the function that stops it
 */
export function repeat(check: () => Promise<void>, everyMs: number, share: number): () => void {
  let isStopped = false
  let timer: NodeJS.Timeout
  const run = async () => {
    const began = performance.now()
    // What keeps the programs from running is told by those who write with them.
    await check().catch(() => {})
    wait(Math.max(everyMs, (performance.now() - began) / share))
  }
  const wait = (ms: number) => {
    if (!isStopped) timer = setTimeout(run, ms).unref()
  }
  wait(everyMs)
  return () => {
    isStopped = true
    clearTimeout(timer)
  }
}
