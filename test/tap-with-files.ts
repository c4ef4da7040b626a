/**
 * A reporter of node:test: TAP, and at its end a comment for each file with a failure. TAP itself has where the failed test is
 * written, which may be a helper that is no test file.
 */

import { type TestEvent, tap } from 'node:test/reporters'

export default async function* tapWithFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files = new Set<string>()
  async function* watched() {
    for await (const event of events) {
      if (event.type === 'test:fail') files.add(event.data.entryFile ?? event.data.file ?? '')
      yield event
    }
  }
  yield* tap(watched())
  for (const file of files) yield `# file with a failure: ${file}\n`
}
