/** What of an outcome counts, and what of two outcomes differs. */

import type { Seen } from './client.ts'
import { messagesOf, normalised } from './http.ts'
import type { Aspect, Input } from './input.ts'

export type Outcome = Readonly<Record<Aspect, string>>

export function outcomeOf(input: Input, { received, end, served }: Seen): Outcome {
  const sent = textOf(input.client)
  const answered = textOf(input.server)
  const methods = [...sent.matchAll(/^([A-Za-z]+) \S* HTTP\/1/gm)].map(([, method]) => method)
  const answers = messagesOf(received, end === 'fin', index => methods[index] === 'HEAD')
  const requests = served.flatMap(bytes => messagesOf(bytes, true, () => false))
  return {
    answer: answers.map(message => normalised(message, answered)).join('\n---\n'),
    end,
    count: String(requests.length),
    requests: [...new Set(requests.map(message => normalised(message, sent)))].sort().join('\n---\n'),
  }
}

const textOf = (steps: Input['client']) => steps.filter(step => typeof step === 'string').join('')

export function aspectsThatDiffer(kernel: Outcome, envoy: Outcome): readonly Aspect[] {
  return (Object.keys(kernel) as Aspect[]).filter(aspect => kernel[aspect] !== envoy[aspect])
}
