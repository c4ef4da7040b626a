import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { test } from 'node:test'
import { turnsDuring } from '../../../testing/turns.ts'
import { messageTypes as answerTypes, flags } from '../../netlink/answer.ts'
import { SystemCallError } from '../../netlink/libc.ts'
import { type Message, readAttributes, readMessages } from '../../netlink/reader.ts'
import { MessageWriter } from '../../netlink/writer.ts'
import { element, portState, testOptions } from '../../testing/states.ts'
import { planRuleset } from '../render.ts'
import { tableOf } from '../rules/ruleset.ts'
import { fixedSet } from '../sets.ts'
import { applyBatch } from './batch.ts'
import { readExpressions } from './expression.ts'
import { messageType, ruleAttributes } from './messages.ts'
import { BatchRefused } from './sent.ts'

const { errno } = constants

/** Answers as the kernel does: each message that it refuses, and those that ask for an acknowledgement. */
class FakeKernel {
  readonly #refusalOf: (message: Message) => number
  readonly #failure: string | undefined
  #answers: (readonly Message[])[] = []
  #sequence = 0

  constructor(refusalOf: (message: Message) => number, failure?: string) {
    this.#refusalOf = refusalOf
    this.#failure = failure
  }

  nextSequence(): number {
    return ++this.#sequence
  }

  send(bytes: Uint8Array): void {
    for (const message of readMessages(Buffer.from(bytes))) {
      const error = this.#refusalOf(message)
      if (error !== 0 || (message.flags & flags.ack) !== 0) this.#answer(message.sequence, error)
    }
  }

  await(): readonly Message[] {
    if (this.#failure !== undefined) throw new SystemCallError('recv', this.#failure)
    return this.receive() ?? []
  }

  receive(): readonly Message[] | undefined {
    return this.#answers.shift()
  }

  #answer(sequence: number, error: number): void {
    const body = Buffer.alloc(20)
    body.writeInt32LE(-error)
    const writer = new MessageWriter()
    writer.message(answerTypes.error, 0x100, sequence, message => void message.raw(body))
    this.#answers.push(readMessages(Buffer.from(writer.bytes)))
  }
}

/** Models a kernel that was built without an expression: it refuses the rules that have it (nft_expr_type_get). */
function without(expression: string): FakeKernel {
  return new FakeKernel(message => {
    if (message.type !== messageType('newRule')) return 0
    const expressions = readExpressions(readAttributes(message.body, 4).list(ruleAttributes.expressions))
    return expressions.some(({ name }) => name === expression) ? errno.ENOENT : 0
  })
}

const operations = planRuleset([portState('a/b/c', '10.0.0.1', ['10.1.0.1:80'])], undefined, testOptions)

async function refusal(kernel: FakeKernel): Promise<BatchRefused> {
  try {
    await applyBatch(kernel, operations)
  } catch (error) {
    assert.ok(error instanceof BatchRefused, String(error))
    return error
  }
  return assert.fail('nothing was refused')
}

for (const [expression, chain] of [
  ['tproxy', 'steer-new'],
  ['numgen', 'endpoints-tcp-1'],
  ['fib', 'refuse-new'],
  ['socket', 'guard'],
] as const) {
  test(`A kernel without nft_${expression} refuses a rule, which is named by its chain`, async () => {
    const { message, code, names } = await refusal(without(expression))
    assert.match(message, new RegExp(`^cannot add a rule to chain ${chain}.*ENOENT$`))
    assert.deepEqual([code, names], ['ENOENT', []])
  })
}

test('A kernel that has all takes all', async () => {
  assert.ok((await applyBatch(without('nothing'), operations)) > 1000)
})

test('Where the whole batch is refused, for want of permission, that is said', async () => {
  const begin = 0x10
  const { code } = await refusal(new FakeKernel(message => (message.type === begin ? errno.EPERM : 0)))
  assert.equal(code, 'EPERM')
})

test('Answers that were lost are no success', async () => {
  await assert.rejects(applyBatch(new FakeKernel(() => 0, 'ENOBUFS'), operations), SystemCallError)
})

test('A batch of many elements is written in several turns of the event loop, and is one batch all the same', async () => {
  const elements = Array.from({ length: 10_000 }, (_, n) => element('ip', 'envoy', `10.0.${n >> 8}.${n & 255} . 80`))
  const adding = { do: 'add', table: tableOf('ip'), set: fixedSet('envoy') } as const
  const inParts = Array.from({ length: 40 }, (_, n) => ({
    ...adding,
    elements: elements.slice(n * 250, (n + 1) * 250),
  }))
  const sent: number[] = []
  const kernel = new FakeKernel(({ type }) => {
    sent.push(type)
    return 0
  })
  const turns = await turnsDuring(() => applyBatch(kernel, inParts))
  assert.ok(turns >= 4, `${turns} turns`)
  assert.deepEqual([sent.length, sent.at(0), sent.at(-1)], [42, 0x10, 0x11])
})
