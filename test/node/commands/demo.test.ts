/** The demo on nodes where a newer nft has declared sets of every kind: an older one crashes there. */

import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { points } from '../../../src/demo/demo.ts'
import { Show } from '../../../src/demo/show.ts'
import { buildStage, overlayServes, type Stage } from '../../../src/demo/stage.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { setsOfEveryKind, versionsOfNft } from '../kernel/foreign-sets.ts'
import { needsRoot } from '../kernel/lab.ts'

describe("The demo beside a newer nft's sets", needsRoot, () => {
  const show = new Show(new Writable({ write: (_chunk, _encoding, done) => done() }))
  let stage: Stage

  before(async () => {
    stage = await buildStage()
    const newest = (await versionsOfNft()).at(-1)!
    for (const { netns, agent } of stage.nodes) {
      await agent.down()
      await runIn(netns, newest, ['flush', 'ruleset'])
      const { code, stderr } = await runIn(netns, newest, ['-f', '-'], { input: setsOfEveryKind })
      assert.equal(code, 0, stderr)
      await agent.up()
    }
    await overlayServes(stage)
  })

  after(() => stage?.network.destroy())

  for (const point of points) {
    test(point.title, async () => {
      assert.ok(await point.run(stage, show))
    })
  }
})
