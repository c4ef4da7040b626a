import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Doubts } from './doubts.ts'

const endpoint = '10.0.0.1:80'
const lookMs = 500
const silence = -Infinity

/** One endpoint, its connections, and looks at them. */
class Scene {
  readonly doubts = new Doubts()
  readonly begun = new Set<number>()
  readonly answered = new Set<number>()
  heardAt = silence
  now = 0
  suspicions = 0
  readonly #maySuspect: boolean
  #next = 1

  constructor(maySuspect = true) {
    this.#maySuspect = maySuspect
  }

  begin(count: number, isAnswered: boolean): void {
    for (let i = 0; i < count; i++) (isAnswered ? this.answered : this.begun).add(this.#next++)
  }

  /** The oldest one, when its client has repeated its first packet. */
  answerOne(): void {
    const [id] = this.begun
    if (id === undefined) return
    this.begun.delete(id)
    this.answered.add(id)
  }

  look(): void {
    this.now += lookMs
    const begun = [...this.begun].map(id => ({ id, endpoint }))
    for (const asked of this.doubts.saw(begun, () => this.#maySuspect, this.now)) {
      const answers = { connections: new Set(this.answered), heardAt: this.heardAt }
      if (this.doubts.judge(asked, answers, this.now)) this.suspicions++
    }
  }

  /** So many new connections before each look, all without an answer. */
  silentFor(looks: number, each = 3): void {
    for (let i = 0; i < looks; i++) {
      this.begin(each, false)
      this.look()
    }
  }
}

describe('an endpoint that answers no new connections', () => {
  test('is suspected after two looks, and not before', () => {
    const scene = new Scene()
    scene.begin(9, true)
    scene.silentFor(1)
    assert.equal(scene.suspicions, 0)
    scene.silentFor(1)
    assert.equal(scene.suspicions, 1)
  })

  test('is urgent until it is known, and not for long where it never is', () => {
    const scene = new Scene()
    const looks = [1, 2, 3, 4].map(() => {
      scene.silentFor(1)
      return scene.doubts.areUrgent(scene.now)
    })
    assert.deepEqual(looks, [true, false, false, false])
    const slow = new Scene()
    slow.silentFor(1)
    for (let seconds = 0; seconds < 2; seconds++) slow.silentFor(2, 0)
    assert.equal(slow.doubts.areUrgent(slow.now), false)
  })

  test('is suspected again while that goes on, but seldom', () => {
    const scene = new Scene()
    scene.silentFor(40)
    assert.ok(scene.suspicions >= 2 && scene.suspicions <= 4, String(scene.suspicions))
  })

  test('is suspected where few connections begin, once there are several of them', () => {
    const scene = new Scene()
    for (let seconds = 0; seconds < 10; seconds++) {
      scene.begin(1, false)
      scene.look()
      scene.look()
    }
    assert.equal(scene.suspicions, 1)
  })

  test('is not suspected for the same few connections, however long they wait', () => {
    const scene = new Scene()
    scene.begin(5, false)
    scene.silentFor(100, 0)
    assert.equal(scene.suspicions, 0)
  })

  test('is not suspected where nobody wants to know', () => {
    const scene = new Scene(false)
    scene.silentFor(20)
    assert.equal(scene.suspicions, 0)
  })

  test('is not suspected while an older connection hears from it', () => {
    const scene = new Scene()
    for (let i = 0; i < 20; i++) {
      scene.heardAt = scene.now + 1
      scene.silentFor(1)
    }
    assert.equal(scene.suspicions, 0)
    scene.silentFor(15)
    assert.ok(scene.suspicions > 0)
  })
})

/** Connections before a look: how many nobody answers, how many somebody does, and how many of those that wait. */
const step = fc.record({ silent: fc.nat(8), answered: fc.nat(2), recovered: fc.nat(2) })

test('one answered connection since the doubt began clears it, whatever else is lost', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const scene = new Scene()
      for (const { silent, answered, recovered } of steps) {
        scene.begin(silent, false)
        scene.begin(answered + 1, true)
        for (let i = 0; i < recovered; i++) scene.answerOne()
        scene.look()
      }
      assert.equal(scene.suspicions, 0)
    }),
  )
})

test('whatever happened before, one that falls silent is suspected within seconds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const scene = new Scene()
      for (const { silent, answered, recovered } of steps) {
        scene.begin(silent, false)
        scene.begin(answered, true)
        for (let i = 0; i < recovered; i++) scene.answerOne()
        scene.look()
      }
      scene.suspicions = 0
      // Until a rest is over, and once more for a doubt that an answer before the silence has cleared.
      scene.silentFor(30)
      assert.ok(scene.suspicions > 0)
    }),
  )
})

test('several that fall silent at once are all suspected, a few at a time', () => {
  const doubts = new Doubts()
  const endpoints = Array.from({ length: 10 }, (_, n) => `10.0.0.${n}:80`)
  const suspected = new Set<string>()
  const begun: { id: number; endpoint: string }[] = []
  const maySuspect = (one: string) => !suspected.has(one)
  for (let look = 1; look <= 20; look++) {
    for (const one of endpoints) for (let i = 0; i < 3; i++) begun.push({ id: begun.length, endpoint: one })
    const asked = doubts.saw(begun, maySuspect, look * lookMs)
    assert.ok(asked.length <= 4)
    for (const one of asked) {
      if (doubts.judge(one, { connections: new Set(), heardAt: silence }, look * lookMs)) suspected.add(one)
    }
  }
  assert.equal(suspected.size, endpoints.length)
})
