import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { InParts } from './inparts.ts'

describe('Lists in parts', () => {
  test('are taken at once while they are short', () => {
    const taken: string[] = []
    const parts = new InParts<string>(3)
    parts.add(['a', 'b'], part => void taken.push(...part))
    assert.deepEqual(taken, ['a', 'b'])
    parts.stop()
  })

  test('let the event loop turn, and never take more in a turn than they may', async () => {
    const perTurn: number[] = []
    let inTurn = 0
    const parts = new InParts<number>(10)
    parts.add(
      Array.from({ length: 35 }, (_, n) => n),
      part => {
        inTurn += part.length
      },
    )
    for (let turns = 0; turns < 5; turns++) {
      perTurn.push(inTurn)
      inTurn = 0
      await turn()
    }
    assert.deepEqual(perTurn, [10, 10, 10, 5, 0])
    parts.stop()
  })

  test('come in order, whole, and each has one last part', async () => {
    const lists = fc.array(fc.nat({ max: 12 }), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(lists, fc.integer({ min: 1, max: 5 }), async (lengths, most) => {
        const parts = new InParts<string>(most)
        const [wanted, taken] = [[] as string[], [] as string[]]
        for (const [list, length] of lengths.entries()) {
          const items = Array.from({ length }, (_, n) => `${list}.${n}`)
          wanted.push(...items, `end of ${list}`)
          parts.add(items, (part, isLast) => void taken.push(...part, ...(isLast ? [`end of ${list}`] : [])))
          if (list % 3 === 2) await turn()
        }
        for (let turns = 0; turns < 100 && taken.length < wanted.length; turns++) await turn()
        assert.deepEqual(taken, wanted)
        parts.stop()
      }),
    )
  })

  test('are no longer taken once it was stopped', async () => {
    const taken: number[] = []
    const parts = new InParts<number>(1)
    parts.add([1, 2, 3], part => void taken.push(...part))
    parts.stop()
    await turn()
    assert.deepEqual(taken, [1])
  })
})
