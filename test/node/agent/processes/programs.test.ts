import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { after, before, test } from 'node:test'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { dns, http, serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

let lab: AgentLab
let pods: readonly RunningPod[]
let observer: ChildProcessByStdio<Writable, Readable, null>
let lines: AsyncIterator<string>

before(async () => {
  if (skip) return
  observer = spawn('python3', [new URL('started-programs.py', import.meta.url).pathname], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  lines = createInterface(observer.stdout)[Symbol.asyncIterator]()
  assert.equal((await lines.next()).value, 'ready')
  lab = await AgentLab.build()
  pods = await lab.pods(['client', 'web-1', 'web-2'], 10)
})

after(async () => {
  observer?.kill()
  await lab?.destroy()
})

/** Names of the programs that a process and its descendants have started since it became what it is. */
async function startedBy(pid: number): Promise<readonly string[]> {
  observer.stdin.write(`${pid}\n`)
  const { value } = await lines.next()
  return value === '' ? [] : (value as string).split(' ')
}

test('an agent starts no program, whatever it has to do', { skip }, async () => {
  const [client, first, second] = pods as [RunningPod, RunningPod, RunningPod]
  const url = 'http://10.96.1.1/'
  const ports = [http, dns]
  const write = (endpoints: readonly RunningPod[]) => {
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.1.1', 'fd00:96::1'], ports }, endpoints))
  }
  lab.writeNode()
  write([first])
  // The path is tested before anything goes to Envoy.
  await lab.start()
  await lab.untilServedBy('envoy', client, url)
  for (let round = 0; round < 50; round++) {
    const others = Array.from({ length: 20 }, (_, n) => ({ name: `s${n}`, vips: [`10.96.2.${n + 1}`], ports }))
    lab.write(
      'others',
      others.flatMap((service, n) => serviceWith(service, (n + round) % 3 === 0 ? [] : [first, second])),
    )
    write(round % 2 === 0 ? [second] : [first, second])
    await lab.until(`round ${round}`, async () => (await lab.explain('default/s19')) !== undefined)
  }
  // What others break is mended: rules, routing, each noticed by itself.
  await lab.on('nft', ['flush', 'ruleset'])
  await lab.until('the table', async () => (await lab.overlay()).includes('10.96.1.1 . 80'))
  await lab.on('ip', ['rule', 'del', 'priority', '5'])
  await lab.until('the rule', async () => (await lab.on('ip', ['rule'])).stdout.includes('lookup 1666'))
  await lab.envoy.down('SIGKILL')
  await lab.untilServedBy('kernel', client, url)
  assert.deepEqual(await startedBy(lab.agent.pid!), [])
  // The observer does see what is started.
  const child = spawn('sh', ['-c', 'true; env true; read line'], { stdio: ['pipe', 'ignore', 'ignore'] })
  try {
    await lab.until('a program that is started', async () => (await startedBy(child.pid!)).length > 0)
  } finally {
    child.kill()
  }
})
