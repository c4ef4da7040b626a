/**
 * How much work some code does, for tests of how it grows: a count, so that a busy machine changes nothing. Counted are
 * the blocks of our own code that V8 runs, its precise coverage; not what its built-ins do inside.
 */

import { Session } from 'node:inspector/promises'
import { setFlagsFromString } from 'node:v8'

// Optimised code counts no calls of functions.
for (const compiler of ['opt', 'maglev', 'sparkplug']) setFlagsFromString(`--no-${compiler}`)

const ours = new URL('../', import.meta.url).href

/** How often blocks of code below src/ ran while `run` did, to its end where it is asynchronous. */
export async function countSteps(run: () => unknown): Promise<number> {
  const session = new Session()
  session.connect()
  try {
    await session.post('Profiler.enable')
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
    await session.post('Profiler.takePreciseCoverage')
    await run()
    const { result } = await session.post('Profiler.takePreciseCoverage')
    const functions = result.filter(({ url }) => url.startsWith(ours)).flatMap(script => script.functions)
    return functions.flatMap(({ ranges }) => ranges).reduce((sum, { count }) => sum + count, 0)
  } finally {
    await session.post('Profiler.stopPreciseCoverage')
    session.disconnect()
  }
}

/** How many times the work grows where the input is four times as large: about 4 where it is linear, 16 where it is quadratic. */
export async function growth(runWith: (size: number) => unknown, size: number): Promise<number> {
  // What is done once is no part of it: the first run fills what is remembered.
  await runWith(size)
  const [small, large] = [await countSteps(() => runWith(size)), await countSteps(() => runWith(4 * size))]
  return large / small
}
