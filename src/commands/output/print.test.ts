import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createLog } from '../../observe/log.ts'
import { RecentLines } from '../../observe/recent.ts'
import { explainService } from '../../plan/explain.ts'
import { aPortState, TestPlan } from '../../plan/testing.ts'
import { noteOf } from '../../services/note.ts'
import { formatProblem, problem } from '../../services/problem.ts'
import { anEndpoint, aPort, aService, aSlice } from '../../services/testing.ts'
import { aPortTraffic } from '../../top/testing.ts'
import { render as adopted } from '../cluster/adopt.ts'
import { render as allPreflown } from '../cluster/all-nodes.ts'
import { render as checked } from '../cluster/check.ts'
import { render as explained } from '../look/explain.ts'
import { render as preflown } from '../look/preflight.ts'
import { render as listed } from '../look/services.ts'
import { render as atAGlance } from '../look/status.ts'
import { summary as translated } from '../look/translate.ts'
import { render as verified } from '../look/verify.ts'
import { render as topped } from '../top/render.ts'
import { type Output, shown } from './print.ts'

/** ESC, BEL, DEL, CSI as one byte, an override of the direction, a zero-width space, a line separator, a tag, half a pair. */
const hostile = fc
  .array(
    fc.constantFrom(
      ...['\u001b[2J', '\u0007', '\u007f', '\u009b1m', '\u202e', '\u200b', '\u2028', '\u{e0041}', '\ud800'],
      ...['\nFORGED', '\r', '\t', 'a', '"', '\\', '{', 'ü', '中'],
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map(parts => parts.join(''))

const harmful = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|^FORGED/mu

const owned = (text: string) => problem('LP201', `Service ${text}`, text, text)
const redirectExemptPods = (text: string) => [{ pod: text, reason: text, addresses: [text] }]

/** What each command prints of an object that has this text wherever somebody may write one. */
const commands: Readonly<Record<string, (text: string, output: Output) => string>> = {
  explain: (text, output) => {
    const plan = new TestPlan()
    const service = aService({ annotations: { [text]: text } })
    const slice = aSlice([anEndpoint('10.244.1.1', { nodeName: text, zone: text })])
    const { problems } = plan.tell([service, slice].map(object => ({ type: 'put', object })))
    const view = explainService(plan.view('whoami', 'whoami')!)
    return shown(
      output,
      {
        node: text,
        service: { ...view, ignored: text },
        clientAddress: { setting: 'preserve' as const, mode: 'preserve' as const, why: text },
        proxyMode: 'nftables',
        servesExternal: true,
        paths: { IPv4: { outcome: 'blocked' as const, by: text, reason: text } },
        overlayOff: false,
        redirectExemptPods: redirectExemptPods(text),
        envoy: { up: true, versions: [text] },
        envoyPorts: {
          'whoami/whoami/http': {
            up: true,
            draining: false,
            endpoints: 1,
            lbPolicy: { policy: 'LEAST_REQUEST' as const },
            endConnections: false,
            connections: 'fresh' as const,
            resources: [{ type: text, name: text, version: text, status: 'refused' as const, detail: text }],
          },
        },
        kernelPorts: { 'whoami/whoami/http': { elements: [text], confirmed: true, problem: undefined } },
        health: {},
        speeds: {},
        connectionsBelow: {},
        problems: [...problems.values()].flat(),
      },
      explained,
    )
  },
  status: (text, output) =>
    shown(
      output,
      {
        node: text,
        version: text,
        synced: true,
        objects: { services: 1, endpointSlices: 1, ports: 1 },
        envoy: {
          up: true,
          clients: [{ nodeId: text, version: text, state: 'serving' as const, instance: 1, connectedSince: text }],
        },
        paths: { IPv4: { outcome: 'blocked' as const, by: text, reason: text } },
        overlayOff: false,
        redirectExemptPods: { count: 1, examples: redirectExemptPods(text) },
        layers: { envoy: 1, kernel: 1, draining: 0 },
        waiting: [{ reason: text, count: 1, examples: [text] }],
        eligible: { count: 1, examples: [text] },
        excluded: { count: 2, examples: [{ what: text, why: text }] },
        problems: [owned(text)],
      },
      atAGlance,
    ),
  services: (text, output) =>
    shown(
      output,
      [
        {
          namespace: text,
          name: text,
          port: { id: text, name: text, number: 80, protocol: text },
          vip: text,
          layer: 'kernel' as const,
          external: undefined,
          protocol: 'http' as const,
          endpoints: 1,
          problems: ['LP201' as const],
          why: text,
        },
      ],
      listed,
    ),
  top: (text, output) => {
    const endpoints = [{ address: text, requestsPerSecond: 1, pinnedConnections: 1 }]
    const port = { ...aPortTraffic, namespace: text, service: text, port: text, endpoints }
    const report = { time: text, intervalSeconds: 1, nodes: [{ name: text, error: text }], ports: [port] }
    return shown(output, report, value => topped(value, 'a/b'))
  },
  translate: (text, output) => shown(output, [aPortState({ id: text, port: aPort({ name: text }) })], translated),
  verify: (text, output) =>
    shown(
      output,
      {
        node: text,
        against: 'kube-proxy' as const,
        services: 1,
        frontends: 1,
        late: [],
        differences: [{ service: text, port: text, frontend: text, what: text, found: text, expected: [text] }],
      },
      verified,
    ),
  adopt: (text, output) =>
    shown(
      output,
      {
        services: [
          { namespace: text, name: text, type: text, clusterIPs: [text], result: 'failed' as const, reason: text },
        ],
        nodes: { nodes: 1, without: [text] },
      },
      outcome => adopted(outcome, new Set(), 'over', false),
    ),
  preflight: (text, output) =>
    shown(
      output,
      {
        node: text,
        checks: [{ name: text, outcome: 'fails' as const, found: text, remedy: text }],
        services: [{ service: text, port: text, vip: text, layer: 'kernel' as const, external: undefined, why: text }],
        problems: [formatProblem(owned(text))],
      },
      preflown,
    ),
  check: (text, output) => {
    const checks = [{ name: text, outcome: 'fails' as const, found: text, remedy: text }]
    const facts = { services: 'labelled' as const, version: text, portsInEnvoy: 1, notHandedOver: 1 }
    return shown(output, { ...facts, cluster: checks, nodes: [{ node: text, checks }] }, checked)
  },
  'preflight --all-nodes': (text, output) => {
    const check = { name: text, outcome: 'fails' as const, found: text, remedy: text }
    const reports = [
      { node: text, checks: [check] },
      { node: text, error: text },
    ]
    return shown(output, reports, allPreflown)
  },
}

for (const [name, print] of Object.entries(commands)) {
  test(`${name} prints no text of a user's object that would command a terminal, reorder text or forge a line`, () => {
    fc.assert(
      fc.property(hostile, text => assert.doesNotMatch(print(text, 'table'), harmful)),
      { numRuns: 200 },
    )
  })

  test(`${name} --output json has no such characters either`, () => {
    fc.assert(
      fc.property(hostile, text => assert.doesNotMatch(print(text, 'json'), harmful)),
      { numRuns: 50 },
    )
  })
}

test('programs read from JSON what was written', () => {
  fc.assert(fc.property(hostile, text => assert.equal(JSON.parse(shown('json', text, String)), text)))
})

test('problems and Events have no such characters, however long a text is they stay short', () => {
  fc.assert(
    fc.property(hostile, text => {
      const found = owned(text)
      assert.doesNotMatch(formatProblem(found), harmful)
      assert.doesNotMatch(noteOf(found).message, harmful)
    }),
  )
  assert.ok(formatProblem(owned('x'.repeat(250_000))).length < 4000)
})

test('lines of the log have no such characters, and mean the same when they are read as JSON', () => {
  fc.assert(
    fc.property(hostile, text => {
      const recent = new RecentLines(1)
      createLog('error', recent, () => {}).error({ text }, text)
      const line = recent.text().trimEnd()
      assert.doesNotMatch(line, harmful)
      assert.equal(JSON.parse(line).msg, text)
    }),
  )
})
