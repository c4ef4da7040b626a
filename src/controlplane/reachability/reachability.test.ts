import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import { anEndpoint, aPod, aSlice, put } from '../../services/testing.ts'
import { silentLog, until } from '../../sources/testing.ts'
import { ReadyEndpoints } from '../failures/readyendpoints.ts'
import { Reachability } from './reachability.ts'
import type { Wanted } from './wanted.ts'

const times = { everyMs: 2, paceMs: 0, settleMs: 0, heardMs: 60_000 }
const exclusion: Exclusion = {
  ...{ of: 'endpoint', name: '10.244.0.1:8080', failure: 'timed out' },
  ...{ since: 0, by: ['node1', 'node2'], isSilent: false },
}

interface Lab {
  readonly written: string[]
  readonly reachability: Reachability
  exclusions: readonly Exclusion[]
  isTeller: boolean
  /** Rejects the next writes so often. */
  failures: number
  told(isUnreachable: boolean): void
}

async function withLab(body: (lab: Lab) => Promise<void>, more: Partial<typeof times> = {}): Promise<void> {
  const ready = new ReadyEndpoints()
  const told = (isUnreachable: boolean) =>
    ready.apply([put(aPod('pod', '10.244.0.1', isUnreachable ? { isUnreachable } : {}))])
  ready.apply([put(aSlice([anEndpoint('10.244.0.1'), anEndpoint('10.244.0.2')]))])
  told(false)
  const written: string[] = []
  const write = async ({ pod, exclusion }: Wanted) => {
    written.push(`${pod} ${exclusion === undefined}`)
    if (lab.failures-- > 0) throw new Error('the API server is away')
  }
  const options = { ready, write, share: 0.5, log: silentLog, times: { ...times, ...more } }
  const lab: Lab = {
    ...{ written, told, exclusions: [], isTeller: true, failures: 0 },
    reachability: new Reachability({
      ...options,
      exclusions: () => lab.exclusions,
      isTeller: () => lab.isTeller,
    }),
  }
  try {
    await body(lab)
  } finally {
    await lab.reachability.stop()
  }
}

const looks = () => new Promise(resolve => setTimeout(resolve, 30))

test('nothing is written while all is well, and a Pod is written once when it is excluded and once when it is not', async () => {
  await withLab(async lab => {
    const { written, told } = lab
    const isWritten = (count: number) =>
      until(
        () => written.length === count,
        () => written.join(),
      )
    await looks()
    assert.deepEqual(written, [])
    lab.exclusions = [exclusion]
    await isWritten(1)
    await looks()
    told(true)
    await looks()
    lab.exclusions = []
    await isWritten(2)
    await looks()
    told(false)
    await looks()
    assert.deepEqual(written, ['whoami/pod false', 'whoami/pod true'])
  })
})

test('what cannot be written is tried again, and not by who is not the one that tells', async () => {
  await withLab(async lab => {
    lab.isTeller = false
    lab.exclusions = [exclusion]
    await looks()
    assert.deepEqual(lab.written, [])
    lab.failures = 2
    lab.isTeller = true
    await until(
      () => lab.written.length === 3,
      () => lab.written.join(),
    )
    await looks()
    assert.equal(lab.written.length, 3)
  })
})

test('a control plane that has just started takes nothing back that another has said', async () => {
  await withLab(
    async lab => {
      lab.told(true)
      await looks()
      assert.deepEqual(lab.written, [])
      lab.told(false)
      lab.exclusions = [exclusion]
      await until(
        () => lab.written.length === 1,
        () => lab.written.join(),
      )
    },
    { settleMs: 60_000 },
  )
})

test('what a watch does not tell is written again', async () => {
  await withLab(
    async lab => {
      lab.exclusions = [exclusion]
      await until(
        () => lab.written.length >= 3,
        () => lab.written.join(),
      )
    },
    { heardMs: 5 },
  )
})
