/** The three ways of admission as pods of a real cluster with kube-proxy, where the API server reaches them by their Service. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { parseAllDocuments, stringify } from 'yaml'
import { namespaces, serviceOf, type Vector, vectors } from '../../../src/services/handover/vectors.ts'
import { noAdmissionPolicies } from '../apiserver.ts'
import { render } from '../deploy/kustomize.ts'
import { isRoot } from '../nodes.ts'
import { proxyName } from './admission.ts'
import { noOpa, opa, opaImage } from './opa.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../../..')
const env = { ...process.env, LIGHTPATH_CLUSTER: `lightpath-test-${process.pid}` }
const missed = Array.from({ length: 20 }, () => vectors[0]!)

describe('on a cluster of two nodes', { skip: isRoot ? noOpa : 'needs root' }, () => {
  let directory: string
  let files = 0
  let services = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lightpath-webhook-'))
    await hack('cluster', 'up')
    await apply([
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'lightpath-system' } },
      ...Object.entries(namespaces).map(([name, labels]) => ({
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name, labels },
      })),
    ])
  })

  after(async () => {
    await hack('cluster', 'down')
    await rm(directory, { recursive: true })
  })

  test('the webhook runs on both nodes with no rights of root', async () => {
    const built = (await run(join(root, 'images/build'), { env, maxBuffer: 2 ** 24 })).stdout
    const [, image = '', archive = ''] = /^(localhost\/lightpath:\S+) (\S+)$/m.exec(built)!
    await hack('cluster', 'load', archive)
    const rendered = await render('webhook')
    const { spec } = rendered.find(({ kind }) => kind === 'Deployment')!.spec.template
    spec.containers[0].image = image
    await apply(rendered)
    await rolledOut('lightpath-webhook')
    const where = await kubectl('-n', 'lightpath-system', 'get', 'pods', '-o', 'jsonpath={.items[*].spec.nodeName}')
    assert.deepEqual(where.split(' ').sort(), ['node1', 'node2'])
    const status = await kubectl(
      '-n',
      'lightpath-system',
      'exec',
      'deploy/lightpath-webhook',
      '--',
      'cat',
      '/proc/1/status',
    )
    assert.match(status, /^Uid:\s65532\s/m)
    assert.match(status, /^CapBnd:\s0+$/m)
  })

  test('the webhook answers every vector as it should', () => answersAll())

  test('a rolling update of the webhook misses no Service', async () => {
    await kubectl('-n', 'lightpath-system', 'rollout', 'restart', 'deployment/lightpath-webhook')
    let isDone = false
    const done = rolledOut('lightpath-webhook').finally(() => {
      isDone = true
    })
    // The old pods answer for some seconds after the new ones are ready.
    for (let after = 0; after < 5; after += Number(isDone)) {
      for (const labels of await create(missed)) assert.equal(labels[proxyName], 'lightpath.cloud')
    }
    await done
  })

  test('without any webhook pod Services are created all the same, and adopt hands them over', async () => {
    await kubectl('-n', 'lightpath-system', 'scale', 'deployment/lightpath-webhook', '--replicas', '0')
    await kubectl('-n', 'lightpath-system', 'wait', '--for=delete', 'pod', '--all', '--timeout', '60s')
    for (const labels of await create(missed)) assert.equal(labels[proxyName], undefined)
    const inControl = [
      `--net=/run/netns/${env.LIGHTPATH_CLUSTER}-control`,
      join(root, 'bin/lightpath'),
      'adopt',
      'shop',
    ]
    const kubeconfig = ['--kubeconfig', `/run/${env.LIGHTPATH_CLUSTER}/kubeconfig`]
    const { stdout } = await run('nsenter', [...inControl, ...kubeconfig, '--yes', '--force'])
    assert.match(stdout, new RegExp(`^Services handed to Lightpath: ${missed.length};`, 'm'))
  })

  test('OPA in its place, with the same certificate, answers every vector as it should', async () => {
    const archive = join(directory, 'opa.tar')
    await mkdir(join(directory, 'opa'))
    await copyFile(opa, join(directory, 'opa/opa'))
    await hack('image', archive, opaImage, '--layer', join(directory, 'opa'), '--user', '1000', '/opa')
    await hack('cluster', 'load', archive)
    await apply(await render('webhook', 'components/opa'))
    await rolledOut('lightpath-opa')
    await answersAll()
  })

  test('the admission policy in its place answers every vector as it should', {
    skip: noAdmissionPolicies,
  }, async () => {
    await kubectl('delete', 'mutatingwebhookconfiguration', 'lightpath.cloud')
    await kubectl('apply', '-f', join(root, 'deploy/components/admission-policy/policy.yaml'))
    await untilInForce()
    await answersAll()
  })

  async function answersAll(): Promise<void> {
    const expected = vectors.map(({ labels, expected }) => ({
      ...labels,
      ...(expected !== undefined && { [proxyName]: expected }),
    }))
    assert.deepEqual(await create(vectors), expected)
  }

  async function untilInForce(): Promise<void> {
    for (let tries = 0; tries < 60; tries++) {
      if ((await create([vectors[0]!]))[0]![proxyName] !== undefined) return
      await sleep(500)
    }
    throw new Error('the policy is not in force after 60 Services')
  }

  /** The labels of the Services, once they are created. */
  async function create(vectors: readonly Vector[]): Promise<readonly Readonly<Record<string, string>>[]> {
    const items = vectors.map(vector => {
      const { metadata, ...rest } = serviceOf(vector, `service-${services++}`)
      return { ...rest, metadata: { ...metadata, namespace: vector.namespace } }
    })
    const made = await kubectl('create', '-o', 'yaml', '-f', await written(items))
    return parseAllDocuments(made).map(document => document.toJS().metadata.labels ?? {})
  }

  async function apply(objects: readonly unknown[]): Promise<void> {
    await kubectl('apply', '-f', await written(objects))
  }

  async function written(objects: readonly unknown[]): Promise<string> {
    const file = join(directory, `${files++}.yaml`)
    await writeFile(file, objects.map(object => stringify(object)).join('---\n'))
    return file
  }

  async function rolledOut(deployment: string): Promise<void> {
    await kubectl('-n', 'lightpath-system', 'rollout', 'status', `deployment/${deployment}`, '--timeout', '120s')
  }

  function kubectl(...args: readonly string[]): Promise<string> {
    return hack('cluster', 'kubectl', ...args)
  }

  async function hack(program: 'cluster' | 'image', ...args: readonly string[]): Promise<string> {
    return (await run(join(root, 'hack', program), args, { env, maxBuffer: 2 ** 24 })).stdout
  }
})
