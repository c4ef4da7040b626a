import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitFor } from '../../lab/wait.ts'
import type { Problem } from '../../services/problem.ts'
import { watchForeignMarks } from './marks.ts'

test('rules of others for our marks are reported while the agent runs, until they are gone', async () => {
  let uses: readonly string[] | Error = []
  const told: { problems?: readonly Problem[] } = {}
  const watch = watchForeignMarks({
    nodeName: 'node1',
    firstMs: 1,
    everyMs: 1,
    read: async () => {
      if (uses instanceof Error) throw uses
      return uses
    },
    onProblems: (_origin, problems) => {
      told.problems = problems
    },
  })
  try {
    await waitFor('a look', 5000, () => told.problems !== undefined)
    assert.equal(told.problems?.length, 0)
    uses = ['ip nat CNI-HOSTPORT-MASQ: meta mark & 0x1000 == 0x1000 masquerade', 'b', 'c', 'd']
    await waitFor('the problem', 5000, () => told.problems!.length > 0)
    assert.deepEqual([told.problems![0]!.code, told.problems![0]!.object], ['LP406', 'Node node1'])
    assert.match(told.problems![0]!.reason, /CNI-HOSTPORT-MASQ.* and 1 more/)
    uses = new Error('busy')
    delete told.problems
    uses = []
    await waitFor('no problem', 5000, () => told.problems?.length === 0)
  } finally {
    await watch.stop()
  }
})
