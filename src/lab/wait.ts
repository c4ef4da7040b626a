/** Waits for something to become true. */

/** Asks every `intervalMs` (default 50) until the answer is truthy, and returns it; throws when it never was within `limitMs`. */
export async function waitFor<T>(
  what: string,
  limitMs: number,
  ask: () => T | Promise<T>,
  intervalMs = 50,
): Promise<NonNullable<T>> {
  const end = performance.now() + limitMs
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs / 1000} s`)
    await pause(intervalMs)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
