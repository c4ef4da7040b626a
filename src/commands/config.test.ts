import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { Command } from 'commander'
import { addOptions, readConfig } from './config.ts'
import { type Config, definitions, describeDefault, flagOf, type OptionName } from './options.ts'
import { UsageError } from './usage.ts'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-options-'))
after(() => rmSync(directory, { recursive: true }))

const names = Object.keys(definitions) as OptionName[]

function parse(flags: readonly string[], file?: string): Config {
  const config = join(directory, 'config.yaml')
  if (file !== undefined) writeFileSync(config, file)
  const command = addOptions(new Command(), names)
  command.parse([...(file === undefined ? [] : ['--config', config]), ...flags], { from: 'user' })
  return readConfig(command)
}

function refusal(flags: readonly string[], file?: string): string {
  try {
    parse(flags, file)
  } catch (error) {
    assert.ok(error instanceof UsageError)
    return error.message
  }
  assert.fail('it was accepted')
}

describe('the configuration', () => {
  test('has the defaults where nothing is set', () => {
    assert.equal(parse([]).redirectPort, 1666)
    assert.equal(parse([]).drainTime, 600e3)
  })
  test('takes a flag before the file, and the file before the default', () => {
    const config = parse(['--redirect-port', '1'], 'redirectPort: 2\nadminPort: 3\nsteeringMark: 0x8000\n')
    assert.deepEqual([config.redirectPort, config.adminPort, config.metricsPort], [1, 3, 9000])
    assert.equal(config.steeringMark, 0x8000)
  })
  test('may be an empty file', () => assert.equal(parse([], '').redirectPort, 1666))
  test('names the flag whose value is wrong, and what it takes', () => {
    assert.match(
      refusal(['--redirect-port', '70000']),
      /^--redirect-port is "70000", which is not a port number from 1 to 65534$/,
    )
    for (const flag of ['--redirect-port', '--admin-port']) {
      assert.match(refusal([flag, '65535']), /not a port number from 1 to 65534$/, 'the next port is used, too')
    }
    assert.match(refusal(['--steering-mark', '0x3']), /--steering-mark .* single bit/)
    assert.match(refusal(['--log-level', 'loud']), /debug or info or warn or error/)
  })
  test('takes an address to listen on with its port, alone, or none', () => {
    const of = (value: string) => parse(['--healthz-bind-address', value]).healthzBindAddress
    assert.equal(parse([]).healthzBindAddress, undefined)
    assert.deepEqual(of('127.0.0.1:1'), { address: '127.0.0.1', port: 1 })
    assert.deepEqual(of('[::]:80'), { address: '::', port: 80 })
    for (const alone of ['FD00::1', '[fd00::1]']) assert.deepEqual(of(alone), { address: 'fd00::1', port: 10256 })
    assert.equal(of('none'), 'none')
    for (const wrong of ['10256', ':10256', 'node1:80', '127.0.0.1:0', '[::]:x']) {
      assert.match(refusal(['--healthz-bind-address', wrong]), /is not an address with a port .*, or none$/)
    }
  })
  test("takes kube-proxy's words among the ranges that open node ports", () => {
    const of = (value: string) => parse(['--nodeport-addresses', value]).nodeportAddresses
    assert.deepEqual(of('all'), ['0.0.0.0/0', '::/0'])
    assert.deepEqual(of('localhost,10.1.2.3/8'), ['127.0.0.0/8', '::1/128', '10.0.0.0/8'])
    assert.deepEqual(of('primary, localhost'), ['primary', '127.0.0.0/8', '::1/128'])
    for (const wrong of ['any', 'constructor', '10.0.0.1'])
      assert.match(refusal(['--nodeport-addresses', wrong]), /CIDRs/)
  })
  test('names the file and key whose value is wrong', () => {
    assert.match(refusal([], 'adminPort: many\n'), /config\.yaml: adminPort is "many"/)
    assert.match(refusal([], 'adminPort: [1]\n'), /config\.yaml: adminPort is not a single value/)
    assert.match(refusal([], 'xdsport: 1\n'), /there is no setting xdsport; there are .*redirectPort/)
    assert.match(refusal([], '- 1\n'), /not a mapping/)
    assert.match(refusal([], 'a: [\n'), /cannot be read/)
  })
  test('refuses one mark bit for two purposes', () => {
    assert.match(refusal(['--steering-mark', '0x1000']), /same bit/)
  })
  test('takes one place from which Services come, and a Service of control planes by TLS alone', () => {
    const service = ['--control-plane-service', 'lightpath-system/lightpath-controlplane']
    const { controlPlaneService } = parse([...service, '--control-plane-authority', 'ca.crt'])
    assert.deepEqual(controlPlaneService, { namespace: 'lightpath-system', name: 'lightpath-controlplane' })
    assert.match(refusal(service), /--control-plane-service needs --control-plane-authority/)
    assert.match(refusal([...service, '--source', 'x']), /--source and --control-plane-service both say where/)
    assert.match(refusal(['--control-plane-service', 'shop']), /is not a namespace and a name such as/)
  })
  test('is printed with every default by --help', () => {
    const help = addOptions(new Command().configureHelp({ helpWidth: 400 }), names).helpInformation()
    for (const name of names) {
      const line = help.split('\n').find(text => text.includes(`${flagOf(name)} `))
      assert.ok(line?.includes(describeDefault(name) ?? ''), name)
    }
  })
})
