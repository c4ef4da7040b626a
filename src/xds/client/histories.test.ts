/** Checks the store, the server and a model of Envoy in whatever order events come. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual as isDeepEqual } from 'node:util'
import fc from 'fast-check'
import { type ResourceRef, type TypeUrl, typeUrls } from '../../envoy/resource.ts'
import { envoyTypes } from '../types.ts'
import { Link } from './testing/link.ts'
import type { Content, Quality } from './testing/resource.ts'
import { putService, removeService, types } from './testing/services.ts'

const { endpoints, filter, route, scope } = typeUrls
const options = { types: envoyTypes }

const quality = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Quality>('good') },
  fc.constantFrom<Quality>('bad', 'broken'),
)
const names = fc.constantFrom('a', 'aa', 'b', 'c', 'd')
const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      name: names,
      state: fc.record({
        cluster: quality,
        endpoints: fc.option(quality, { nil: undefined, freq: 6 }),
        listener: fc.option(quality, { nil: undefined, freq: 6 }),
        filter: fc.option(quality, { nil: undefined, freq: 2 }),
        route: fc.option(quality, { nil: undefined, freq: 2 }),
        scope: fc.option(quality, { nil: undefined, freq: 2 }),
        leadsTo: fc.option(names, { nil: undefined, freq: 1 }),
      }),
      changed: fc.subarray(types),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), name: names }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hear' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('receive' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('drain' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end drains' as const) }) },
)

test('whatever happens in whatever order, Envoy ends with what the store has but for what it rejected, and no order of delivery breaks a Service', () => {
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 80, size: 'max' }),
      fc.constantFrom(1, 2, 1000),
      (actions, maxResources) => {
        const link = new Link({ ...options, maxResources })
        const { store, envoy } = link
        for (const step of actions) {
          if (step.do === 'put') putService(store, step.name, step.state, step.changed)
          else if (step.do === 'remove') removeService(store, step.name)
          else if (step.do === 'send') link.send()
          else if (step.do === 'hear') link.hear()
          else if (step.do === 'receive') envoy.receive(link.nacks)
          else if (step.do === 'drain') link.drain()
          else if (step.do === 'end drains') envoy.endDrains()
          else link.reconnect()
        }
        link.drain()
        for (const typeUrl of types) {
          const names = new Set([...store.names(typeUrl), ...envoy.has.get(typeUrl)!.keys()])
          for (const name of names) checkOutcome(link, { typeUrl, name })
        }
        assert.deepEqual(link.ignored, [])
        if (store.types().every(typeUrl => typeUrl !== route && typeUrl !== filter)) assert(link.settled > 0)
      },
    ),
    { numRuns: 3000 },
  )
})

function checkOutcome(link: Link, ref: ResourceRef): void {
  const { store, envoy, nacks, reconnects, client } = link
  const what = `${ref.typeUrl} ${ref.name}`
  // A cluster that was made anew has no endpoints until they come again.
  const isPutAside = ref.typeUrl === endpoints && envoy.bare.has(ref.name)
  // Nobody knows what Envoy does not list after a reconnect. Only a filter that it lacks must not count as acknowledged.
  const isLackingFilter = ref.typeUrl === filter && envoy.version(ref) === undefined
  if (reconnects > 0 && !isLackingFilter && (isPutAside || envoy.hasForgotten(ref))) return
  const version = isPutAside ? undefined : envoy.version(ref)
  const told = client.acknowledgedVersion(ref)
  const isLate = ref.typeUrl === filter && version !== undefined && envoy.early.has(ref.name)
  assert(!isLate || reconnects > 0, `${what} came when its listener was in service, which stayed`)
  // Endpoints rejected while their cluster changes count as gone, since the changed cluster may be in use already.
  const isDoubtful = ref.typeUrl === endpoints && nacks.some(nack => isDeepEqual(nack.ref, ref))
  if (told !== undefined || !isDoubtful) assert.equal(told, version, `${what}: server and Envoy disagree`)
  const stored = store.get(ref.typeUrl, ref.name)
  const isGivenUp = ref.typeUrl !== filter || !envoy.wants(filter, ref.name)
  if (!stored) assert(version === undefined || isDoubtful || isKept(link, ref) || !isGivenUp, `${what} is not gone`)
  else if (version !== stored.version) assert(isExcused(link, stored), `${what} is missing`)
}

/**
 * Required by what Envoy has, or possibly by what Envoy kept from before a reconnect because it rejected what followed.
 */
function isKept(link: Link, ref: ResourceRef): boolean {
  const { envoy, nacks, reconnects } = link
  return (
    envoy.usersOf(ref).length > 0 ||
    isRequiredByScope(link, ref) ||
    (reconnects > 0 && nacks.some(nack => envoy.version(nack.ref) !== undefined))
  )
}

/**
 * A scope that Envoy has may require this: certainly if the store has it so, possibly if Envoy rejected what the store
 * has.
 */
function isRequiredByScope({ store, envoy }: Link, ref: ResourceRef): boolean {
  return [...envoy.has.get(scope)!].some(([name, { version }]) => {
    const stored = store.get(scope, name)
    return stored && (stored.version !== version || stored.requires.some(required => isDeepEqual(required, ref)))
  })
}

/** Rejected, or requiring what Envoy does not have, or not asked for since what asks for it was rejected. */
function isExcused({ envoy, nacks, client, store }: Link, resource: { typeUrl: TypeUrl; name: string }): boolean {
  const { typeUrl, name } = resource
  const stored = store.get(typeUrl, name)!
  const content: Content = JSON.parse(new TextDecoder().decode(stored.encode()))
  if (nacks.some(({ ref, version }) => ref.typeUrl === typeUrl && ref.name === name && version === stored.version)) {
    return content.quality !== 'good'
  }
  if (stored.requires.some(required => client.acknowledgedVersion(required) === undefined)) return true
  return !envoy.wants(typeUrl, name)
}
