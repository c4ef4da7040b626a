/**
 * Behind Envoy an application sees and is seen as behind the kernel layer: each input is sent both ways, to the same endpoint.
 * What differs is in differences.ts with its reason. All of one way are sent at once.
 */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runIn } from '../../../src/lab/processes.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { type PortOptions, serviceWith } from '../manifests.ts'
import { addressOf, type Way } from './addresses.ts'
import type { Seen } from './client.ts'
import { differences } from './differences.ts'
import { inputs } from './inputs.ts'
import { aspectsThatDiffer, type Outcome, outcomeOf } from './outcome.ts'

const program = (name: string) => new URL(`${name}.ts`, import.meta.url).pathname

describe('what is sent by the kernel layer and through Envoy', { skip }, () => {
  let lab: AgentLab
  let outcomes: Readonly<Record<Way, readonly Outcome[]>>

  before(async () => {
    // Endpoints see the client's address both ways.
    const flags = ['--client-address', 'preserve']
    lab = await AgentLab.build({ flags, bootstrapFlags: flags })
    const [server, client] = await Promise.all([
      lab.network.addPod('node1', 'server'),
      lab.network.addPod('node1', 'client'),
    ])
    const file = join(lab.network.directory, 'inputs.json')
    writeFileSync(file, JSON.stringify(inputs))
    const options = { pipeStdout: true, logFile: join(lab.network.directory, 'server.log') }
    const endpoints = await lab.network.processes.spawnIn(
      server.netns,
      process.execPath,
      [program('server'), file],
      options,
    )
    await new Promise(resolve => endpoints.stdout!.once('data', resolve))

    const services = (way: Way) =>
      inputs.flatMap((input, index) => {
        const ports: PortOptions[] = [{ name: 'http', port: 80, targetPort: 2000 + index }]
        const settings = { overlay: String(way === 'envoy'), ...(way === 'envoy' ? input.settings : {}) }
        return serviceWith({ name: `${way}-${index}`, vips: [addressOf(way, index)], ports, settings }, [server])
      })
    lab.write('services', [...services('kernel'), ...services('envoy')])
    await lab.start()
    await lab.until('all Services in Envoy', async () => (await lab.overlay()).length === inputs.length)
    const send = async (way: Way): Promise<readonly Outcome[]> => {
      const args = [program('client'), file, way, server.ip]
      const { stdout, stderr } = await runIn(client.netns, process.execPath, args, { timeoutMs: 60_000 })
      if (stdout === '') throw new Error(stderr)
      return (JSON.parse(stdout) as readonly Seen[]).map((seen, index) => outcomeOf(inputs[index]!, seen))
    }
    outcomes = { kernel: await send('kernel'), envoy: await send('envoy') }
  })

  after(() => lab?.destroy())

  test('have names of their own, and every difference is one of an input', () => {
    const names = new Set(inputs.map(({ name }) => name))
    assert.equal(names.size, inputs.length)
    const listed = differences.flatMap(({ of }) => of)
    assert.deepEqual(listed.toSorted(), [...new Set(listed)].filter(name => names.has(name)).sort())
  })

  for (const [index, { name }] of inputs.entries()) {
    const difference = differences.find(({ of }) => of.includes(name))
    test(difference === undefined ? name : `${name}: ${difference.because}`, () => {
      const [kernel, envoy] = [outcomes.kernel[index]!, outcomes.envoy[index]!]
      const told = `by the kernel layer: ${JSON.stringify(kernel, null, 1)}\nthrough Envoy: ${JSON.stringify(envoy, null, 1)}`
      assert.deepEqual(aspectsThatDiffer(kernel, envoy), difference?.in ?? [], told)
    })
  }
})
