import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bearers, type Create } from './bearers.ts'
import { metricsAccess } from './route.ts'

const user = { username: 'prometheus', uid: '1', groups: ['g'], extra: { a: ['b'] } }

/** An API server that knows these tokens; `asked` has the paths that were asked. */
function server(tokens: Readonly<Record<string, { readonly allowed: boolean }>>) {
  const asked: string[] = []
  let away = false
  const create: Create = async (path, object) => {
    asked.push(path.split('/').at(-1)!)
    if (away) throw new Error('away')
    const { spec } = object as { spec: { token?: string; user?: string } }
    if (spec.token !== undefined) {
      const known = Object.hasOwn(tokens, spec.token)
      return { status: known ? { authenticated: true, user: { ...user, username: spec.token } } : {} }
    }
    return { status: { allowed: tokens[spec.user!]!.allowed } }
  }
  return { create, asked, goAway: () => (away = true) }
}

test('what the API server said of a token is asked again only after a while', async () => {
  let now = 0
  const { create, asked } = server({ good: { allowed: true }, bad: { allowed: false } })
  const bearers = new Bearers(create, metricsAccess, { now: () => now })
  const kinds = async () => {
    const verdicts = [bearers.verdict('good', 'a'), bearers.verdict('bad', 'b'), bearers.verdict('unheard of', 'c')]
    return (await Promise.all(verdicts)).map(({ kind }) => kind)
  }
  for (let i = 0; i < 100; i++) assert.deepEqual(await kinds(), ['allowed', 'forbidden', 'unauthenticated'])
  assert.equal(asked.length, 5)
  now = 61_000
  await kinds()
  assert.equal(asked.length, 10)
})

test('a token that was allowed stays so for an hour while the API server is away, others are not known', async () => {
  let now = 0
  const { create, goAway } = server({ good: { allowed: true } })
  const bearers = new Bearers(create, metricsAccess, { now: () => now })
  await bearers.verdict('good', 'a')
  goAway()
  now = 30 * 60_000
  assert.equal((await bearers.verdict('good', 'a')).kind, 'allowed')
  assert.equal((await bearers.verdict('other', 'a')).kind, 'unknown')
  now = 61 * 60_000
  assert.equal((await bearers.verdict('good', 'a')).kind, 'unknown')
})

test('however many clients try tokens, one that was allowed is reviewed again', async () => {
  let now = 0
  const { create } = server({ good: { allowed: true } })
  let isHeld = false
  const bearers = new Bearers(
    (path, object) => {
      const isGuess = JSON.stringify(object).includes('guess')
      return isHeld && isGuess ? new Promise(() => {}) : create(path, object)
    },
    metricsAccess,
    { now: () => now },
  )
  await bearers.verdict('good', 'prometheus')
  isHeld = true
  for (let i = 0; i < 100; i++) void bearers.verdict(`guess ${i}`, `guesser ${i}`)
  now = 2 * 60_000
  assert.equal((await bearers.verdict('good', 'prometheus')).kind, 'allowed')
})

test('as many clients as may be are looked at together', async () => {
  const gate = Promise.withResolvers<void>()
  const { create } = server({ good: { allowed: true } })
  const held: typeof create = async (path, object) => {
    await gate.promise
    return create(path, object)
  }
  const bearers = new Bearers(held, metricsAccess, { mostReviews: 20 })
  const tries = Array.from({ length: 21 }, (_, i) => bearers.verdict(`token ${i}`, `node${i}`))
  gate.resolve()
  const kinds = (await Promise.all(tries)).map(({ kind }) => kind)
  assert.equal(kinds.filter(kind => kind === 'busy').length, 1)
})

test('a client that tries many tokens keeps neither the API server nor others from being asked', async () => {
  const gate = Promise.withResolvers<void>()
  const { create, asked } = server({ good: { allowed: true } })
  const bearers = new Bearers(async (path, object) => {
    await gate.promise
    return create(path, object)
  }, metricsAccess)
  const tries = Array.from({ length: 1000 }, (_, i) => bearers.verdict(`guess ${i}`, 'guesser'))
  const good = bearers.verdict('good', 'prometheus')
  gate.resolve()
  const kinds = (await Promise.all(tries)).map(({ kind }) => kind)
  assert.equal(kinds.filter(kind => kind === 'busy').length, 998)
  assert.equal((await good).kind, 'allowed')
  assert.equal(asked.length, 4)
})

test('no more than a few hundred tokens are remembered', async () => {
  const { create, asked } = server({})
  const bearers = new Bearers(create, metricsAccess)
  for (let i = 0; i < 1000; i++) await bearers.verdict(`guess ${i}`, 'guesser')
  asked.length = 0
  for (let i = 999; i >= 744; i--) await bearers.verdict(`guess ${i}`, 'guesser')
  assert.equal(asked.length, 0)
  await bearers.verdict('guess 743', 'guesser')
  assert.equal(asked.length, 1)
})

test('so many allowed tokens are remembered as are asked for, whatever others try', async () => {
  const tokens = Array.from({ length: 400 }, (_, i) => `good ${i}`)
  const { create, asked } = server(Object.fromEntries(tokens.map(token => [token, { allowed: true }])))
  const bearers = new Bearers(create, metricsAccess, { mostTokens: 400 })
  for (const token of tokens) await bearers.verdict(token, 'agent')
  for (let i = 0; i < 500; i++) await bearers.verdict(`guess ${i}`, 'guesser')
  asked.length = 0
  for (const token of tokens) assert.equal((await bearers.verdict(token, 'agent')).kind, 'allowed')
  assert.equal(asked.length, 0)
})

test('another process allows what was allowed while the API server is away, for an hour from its answer', async () => {
  const { create, asked, goAway } = server({ good: { allowed: true }, bad: { allowed: false } })
  const first = new Bearers(create, metricsAccess)
  for (const token of ['good', 'bad']) await first.verdict(token, 'a')
  goAway()
  const remembered = first.remembered()
  assert.equal(remembered.length, 1)
  assert.doesNotMatch(JSON.stringify(remembered), /good/)
  const verdicts = async (ageMs: number) => {
    const other = new Bearers(create, metricsAccess)
    other.recall(remembered.map(one => ({ ...one, at: one.at - ageMs })))
    asked.length = 0
    const kinds = [(await other.verdict('good', 'a')).kind, (await other.verdict('bad', 'a')).kind]
    return [...kinds, asked.length]
  }
  assert.deepEqual(await verdicts(0), ['allowed', 'unknown', 1])
  assert.deepEqual(await verdicts(30 * 60_000), ['allowed', 'unknown', 2])
  assert.deepEqual(await verdicts(61 * 60_000), ['unknown', 'unknown', 2])
  assert.deepEqual(await verdicts(-60_000), ['unknown', 'unknown', 2])
})
