import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { aPort, aService } from '../testing.ts'
import { readSettings } from './annotations.ts'
import { defaultSettings, settingDefinitions } from './definitions.ts'
import { formatDuration, parseDuration } from './duration.ts'

const prefix = 'config.lightpath.cloud/'

function read(annotations: Record<string, string>, ports = [aPort()]) {
  const prefixed = Object.entries(annotations).map(([key, value]) => [prefix + key, value])
  return readSettings(aService({ annotations: Object.fromEntries(prefixed), ports }))
}

describe('annotations', () => {
  test('a setting applies to the port that it names, and to no other', () => {
    const { byPort, problems } = read({ 'http-num-retries': '7' }, [aPort(), aPort({ name: 'http-b', port: 81 })])
    assert.deepEqual(problems, [])
    assert.equal(byPort.get('http')?.numRetries, 7)
    assert.equal(byPort.get('http-b'), undefined)
  })
  test('a port without a name is named by its number', () => {
    const ports = [aPort({ name: '', port: 8080, appProtocol: 'http' })]
    assert.equal(read({ '8080-num-retries': '7' }, ports).byPort.get('8080')?.numRetries, 7)
  })
  test('of two ports that could be meant, the one with the longer name is', () => {
    const { byPort } = read({ 'http-upstream-idle-timeout': '7s' }, [
      aPort(),
      aPort({ name: 'http-upstream', port: 81 }),
    ])
    assert.equal(byPort.get('http-upstream')?.idleTimeout, 7000)
    assert.equal(byPort.get('http'), undefined)
  })
  test('a value that does not parse leaves the default, keeps the other settings, and says what is accepted', () => {
    const { byPort, problems } = read({ 'http-idle-timeout': 'soon', 'http-num-retries': '1' })
    assert.equal(byPort.get('http')?.idleTimeout, defaultSettings.idleTimeout)
    assert.equal(byPort.get('http')?.numRetries, 1)
    assert.equal(problems.length, 1)
    assert.equal(problems[0]?.code, 'LP202')
    assert.equal(problems[0]?.object, 'Service whoami/whoami')
    assert.match(problems[0]?.reason ?? '', /http-idle-timeout: "soon" is not a duration/)
    assert.match(problems[0]?.remedy ?? '', /default applies/)
  })
  test('an unknown setting is reported with the one that was probably meant', () => {
    const [problem] = read({ 'http-num-retry': '1' }).problems
    assert.equal(problem?.code, 'LP201')
    assert.match(problem?.remedy ?? '', /num-retries/)
  })
  test('a setting for a port that the Service does not have is reported with the ports that it has', () => {
    const [problem] = read({ 'web-num-retries': '1' }).problems
    assert.equal(problem?.code, 'LP203')
    assert.match(problem?.remedy ?? '', /http/)
  })
  test('a setting that a port has no use for is reported', () => {
    assert.equal(read({ 'db-num-retries': '1' }, [aPort({ name: 'db' })]).problems[0]?.code, 'LP204')
    assert.equal(read({ 'dns-overlay': 'true' }, [aPort({ name: 'dns', protocol: 'UDP' })]).problems[0]?.code, 'LP204')
  })
  test('the setting protocol decides which other settings a port has a use for, wherever it stands', () => {
    const retries = { 'db-num-retries': '1' }
    const db = [aPort({ name: 'db' })]
    assert.deepEqual(read({ ...retries, 'db-protocol': 'grpc' }, db).problems, [])
    assert.deepEqual(read({ 'db-protocol': ' http ', ...retries }, db).problems, [])
    assert.equal(read({ 'http-protocol': 'tcp', 'http-num-retries': '1' }).problems[0]?.code, 'LP204')
    assert.equal(read({ 'db-protocol': 'smtp' }, db).problems[0]?.code, 'LP202')
  })
  test('annotations of others are left alone', () => {
    assert.deepEqual(readSettings(aService({ annotations: { 'example.com/http-idle-timeout': 'x' } })).problems, [])
  })
  for (const [key, value] of [
    ['http-num-retries', '-1'],
    ['http-num-retries', '101'],
    ['http-num-retries', '1e1'],
    ['http-num-retries', '99999999999999999999'],
    ['http-circuit-breaker-default-max-requests', '4294967296'],
    ['http-circuit-breaker-default-max-requests', '0x10'],
    ['http-idle-timeout', '-5s'],
    ['http-idle-timeout', '99999999h'],
    ['http-upstream-connect-timeout', '0s'],
    ['http-outlier-detection-max-ejection-percent', '101'],
    ['http-retry-enabled', 'yes'],
    ['http-lb-policy', 'least_request'],
    ['http-retry-on', '5xx,,reset'],
    ['http-access-log', ''],
  ] as const) {
    test(`${key}: ${JSON.stringify(value)} is refused`, () =>
      assert.equal(read({ [key]: value }).problems[0]?.code, 'LP202'))
  }
  for (const [setting, text, key, applies, inWords] of [
    ['outlier-detection-interval', '1ms', 'outlierDetectionInterval', 1000, '1s'],
    ['outlier-detection-interval', '8760h', 'outlierDetectionInterval', 3600e3, '3600s'],
    ['num-retries', '100', 'numRetries', 10, '10'],
    ['circuit-breaker-default-max-retries', '4294967295', 'circuitBreakerDefaultMaxRetries', 256, '256'],
    ['upstream-connect-timeout', '1h', 'upstreamConnectTimeout', 120e3, '120s'],
    ['idle-timeout', '1ms', 'idleTimeout', 1000, '1s'],
  ] as const) {
    test(`a ${setting} of ${text} would cost others something: ${inWords} applies, and the range is reported`, () => {
      const { byPort, problems } = read({ [`http-${setting}`]: text })
      assert.equal(byPort.get('http')?.[key], applies)
      const { accepts } = settingDefinitions.find(({ name }) => name === setting)!
      assert.equal(problems.length, 1)
      assert.equal(problems[0]?.code, 'LP202')
      assert.ok(problems[0]?.reason.includes(accepts), problems[0]?.reason)
      assert.match(problems[0]?.remedy ?? '', new RegExp(`^${inWords} applies`))
    })
  }
  test('a retry condition counts once, however often it is written', () => {
    const { byPort } = read({ 'http-retry-on': new Array(10_000).fill('5xx,reset').join(',') })
    assert.equal(byPort.get('http')?.retryOn, '5xx,reset')
  })
  test('no text whatever makes reading fail, and every annotation of ours is used or reported', () => {
    const setting = fc.constantFrom(...settingDefinitions.map(({ name }) => name))
    const key = fc.oneof(
      fc.string(),
      setting.map(name => `http-${name}`),
      fc.tuple(fc.string(), setting).map(([label, name]) => `${label}-${name}`),
    )
    fc.assert(
      fc.property(fc.dictionary(key, fc.string()), annotations => {
        const { annotated, problems } = read(annotations)
        const used = [...annotated.values()].reduce((sum, keys) => sum + keys.size, 0)
        const bounded = problems.filter(({ remedy }) => remedy.includes('the nearest')).length
        assert.equal(used + problems.length - bounded, Object.keys(annotations).length)
      }),
    )
  })
})

describe('defaults', () => {
  test('every setting parses its own default, unless that is decided elsewhere', () => {
    const decidedElsewhere = settingDefinitions.filter(definition => definition.default === undefined)
    assert.deepEqual(
      decidedElsewhere.map(({ name }) => name),
      [
        'protocol',
        'overlay',
        'idle-timeout',
        'first-bytes-timeout',
        'lb-policy',
        'circuit-breaker-default-max-retries',
        'circuit-breaker-high-max-retries',
      ],
    )
    for (const { parse, defaultText, default: value } of settingDefinitions) {
      if (value !== undefined) assert.deepEqual(parse(defaultText), { ok: true, value })
    }
  })
})

describe('durations', () => {
  for (const [text, ms] of [
    ['300s', 300e3],
    ['1h30m', 5400e3],
    ['1.5s', 1500],
    ['500ms', 500],
    ['0', 0],
    ['.5m', 30e3],
  ] as const) {
    test(`${text} is ${ms} ms`, () => assert.equal(parseDuration(text), ms))
  }
  for (const text of ['', '5', 's', '5 s', '5x', '-5s', '1h 2m', 'Infinitys', '1e3s']) {
    test(`${JSON.stringify(text)} is no duration`, () => assert.equal(parseDuration(text), undefined))
  }
  test('what is printed reads back as the same time', () => {
    fc.assert(fc.property(fc.nat(), ms => assert.equal(parseDuration(formatDuration(ms)), ms)))
  })
})
