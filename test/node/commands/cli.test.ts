import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import packageJson from '../../../package.json' with { type: 'json' }
import { definitions, describeDefault, flagOf, type OptionName } from '../../../src/commands/options.ts'
import { createNetwork } from '../../../src/lab/network.ts'
import { type RunOptions, run, runIn } from '../../../src/lab/processes.ts'
import { skip } from '../agent/lab.ts'
import { envoyPath } from '../envoy/envoy.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const program = join(root, 'bin/lightpath')
const examples = join(root, 'examples')

const temporary = mkdtempSync(join(tmpdir(), 'lightpath-cli-'))
after(() => rmSync(temporary, { recursive: true }))

function lightpath(args: readonly string[], options?: RunOptions) {
  return run(program, args, { timeoutMs: 60_000, ...options })
}

async function translated(to: string): Promise<string> {
  const { code, stdout, stderr } = await lightpath(['translate', examples, '--node-name', 'node1', '--to', to])
  assert.deepEqual([code, stderr], [0, ''])
  return stdout
}

const commands = [
  'node',
  'prepare',
  'bootstrap',
  'explain',
  'status',
  'services',
  'translate',
  'verify',
  'overlay',
  'cleanup',
  'uninstall',
  'webhook',
  'controlplane',
  'adopt',
  'demo',
] as const

describe('the command line', { concurrency: 2 }, () => {
  test('tells its version', async () => {
    assert.deepEqual(await lightpath(['--version']), { code: 0, stdout: `${packageJson.version}\n`, stderr: '' })
  })

  test('some command takes each flag that the documentation names', async () => {
    const words = new Set<string>()
    for (const command of [...commands, 'preflight']) {
      for (const word of (await lightpath([command, '--help'])).stdout.split(/\s+/)) words.add(word)
    }
    const names = Object.keys(definitions) as OptionName[]
    assert.deepEqual(
      names.map(flagOf).filter(flag => !words.has(flag)),
      [],
    )
  })

  for (const command of commands) {
    test(`${command} --help describes its flags with their defaults`, async () => {
      const { code, stdout } = await lightpath([command, '--help'])
      assert.equal(code, 0)
      assert.match(stdout, new RegExp(`^Usage: lightpath ${command} `))
      const text = stdout.replaceAll(/\s+/g, ' ')
      for (const name of Object.keys(definitions) as OptionName[]) {
        const at = text.indexOf(` ${flagOf(name)} <`)
        const words = describeDefault(name)
        if (at >= 0 && words !== undefined) assert.ok(text.indexOf(`(default: ${words})`, at) > at, name)
      }
    })
  }

  const badConfig = join(temporary, 'bad.yaml')
  writeFileSync(badConfig, 'adminPort: many\n')
  const brokenConfig = join(temporary, 'broken.yaml')
  writeFileSync(brokenConfig, 'adminPort: [1\n\tx')
  for (const [mistake, args, words] of [
    ['an unknown command', ['nod'], /unknown command 'nod' \(Did you mean node\?\)/],
    ['an unknown flag', ['node', '--nonsense'], /unknown option '--nonsense'/],
    ['a flag of another command', ['overlay', 'show', '--redirect-port', '1'], /unknown option '--redirect-port'/],
    ['a flag without its value', ['node', '--redirect-port'], /--redirect-port <PORT>' argument missing/],
    ['a flag with a bad value', ['node', '--redirect-port', '0'], /--redirect-port is "0", which is not a port number/],
    ['a missing argument', ['explain'], /missing required argument 'namespace\/name'/],
    ['a bad argument', ['overlay', 'sideways'], /"sideways" is not on, off or show/],
    ['an argument too many', ['cleanup', 'all'], /too many arguments/],
    ['a bad form', ['translate', examples, '--to', 'svg'], /--to is "svg", which is not table or json/],
    ['a bad output', ['explain', 'a/b', '--output', 'xml'], /--output is "xml", which is not table or json/],
    [
      'a missing file of settings',
      ['node', '--config', '/nonexistent'],
      /nonexistent, given with --config, cannot be read: ENOENT/,
    ],
    ['a bad file of settings', ['node', '--config', badConfig], /bad\.yaml: adminPort is "many"/],
    [
      'a broken file of settings',
      ['node', '--config', brokenConfig],
      /broken\.yaml, given with --config, cannot be read: .*line 2/,
    ],
  ] as const) {
    test(`${mistake} is answered by one line and exit code 2`, async () => {
      const { code, stdout, stderr } = await lightpath(args)
      assert.deepEqual([code, stdout], [2, ''])
      assert.match(stderr, words)
      assert.match(stderr, /^lightpath.*\n$/)
    })
  }

  test('without node:ffi the agent and whatever asks the kernel say so, with what to do', async () => {
    const without = { env: { NODE_OPTIONS: '--no-experimental-ffi' } }
    const agent = await lightpath(['node', '--source', examples], without)
    assert.equal(agent.code, 1)
    assert.match(
      agent.stderr,
      /^lightpath node: LP405 Node\.js: .* has no module node:ffi; run Lightpath with [^\n]+\n$/,
    )
    const { code, stderr } = await lightpath(['cleanup'], without)
    assert.deepEqual([code, /has no module node:ffi; run Lightpath with /.test(stderr)], [1, true])
    const preflight = await lightpath(['preflight'], without)
    assert.equal(preflight.code, 1)
    assert.match(preflight.stdout, /fails +node:ffi .*\n +→ run Lightpath with /)
  })

  test('a directory that is not there is answered by one line and exit code 1', async () => {
    const { code, stdout, stderr } = await lightpath(['translate', '/nonexistent'])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /^lightpath translate: LP104 \/nonexistent: .*\n$/)
  })

  test('translate says what is wrong in a manifest on standard error and translates the rest', async () => {
    const directory = mkdtempSync(join(temporary, 'manifests-'))
    writeFileSync(join(directory, 'half.yaml'), 'kind: Service\n\tmetadata: {')
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'default' } }
    const spec = { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] }
    writeFileSync(join(directory, 'good.json'), JSON.stringify({ ...service, spec }))
    const { code, stdout, stderr } = await lightpath(['translate', directory])
    assert.equal(code, 0)
    assert.match(stdout, /^default\/web\/http +10\.96\.0\.1:80\/TCP +kernel +- +0/m)
    assert.match(stderr, /LP101 .*half\.yaml:2/)
  })

  test('translate --strict is for pipelines: its exit code is 1 where there are problems', async () => {
    const directory = mkdtempSync(join(temporary, 'strict-'))
    assert.equal((await lightpath(['translate', examples, '--strict'])).code, 0)
    writeFileSync(join(directory, 'half.yaml'), 'kind: [')
    const { code, stdout, stderr } = await lightpath(['translate', directory, '--strict'])
    assert.equal(code, 1)
    assert.match(stdout, /^SERVICE PORT/)
    assert.match(stderr, /^LP101/)
  })

  for (const args of [['cleanup'], ['overlay', 'off'], ['prepare']]) {
    test(`${args.join(' ')} without root says in a line what to do`, { skip }, async () => {
      const unprivileged = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--reuid=65534', '--clear-groups']
      const [command = '', ...rest] = [...unprivileged, program, ...args]
      const { code, stdout, stderr } = await run(command, rest)
      assert.deepEqual([code, stdout], [1, ''])
      assert.match(
        stderr,
        new RegExp(`^lightpath ${args[0]}: ${args[0]} needs root, or CAP_NET_ADMIN: run it as root.*\\n$`),
      )
    })
  }

  test('debug dump where nothing can be written says where else the archive can go', async () => {
    const { code, stderr } = await lightpath([
      'debug',
      'dump',
      '--socket',
      '/nonexistent',
      '--file',
      '/proc/dump.tar.gz',
    ])
    assert.equal(code, 1)
    assert.match(
      stderr,
      /\nlightpath dump: \/proc\/dump.tar.gz cannot be written \(E\w+\); give another place with --file/,
    )
  })

  for (const to of ['table', 'nftables']) {
    test(`translate --to ${to} of the examples is golden/translate-${to}.snapshot, without root and colours`, async (t: TestContext) => {
      const args = ['translate', examples, '--node-name', 'node1', '--to', to]
      const unprivileged = skip ? [] : ['setpriv', '--bounding-set=-all', '--inh-caps=-all']
      const [command = '', ...rest] = [...unprivileged, program, ...args]
      const { code, stdout, stderr } = await run(command, rest)
      assert.deepEqual([code, stderr], [0, ''])
      const file = fileURLToPath(new URL(`golden/translate-${to}.snapshot`, import.meta.url))
      t.assert.fileSnapshot(stdout, file, { serializers: [value => value] })
    })
  }

  test('translate --to json is what the other forms are made of', async () => {
    const ports = JSON.parse(await translated('json')) as { id: string; vip: string; endpoints: object[] }[]
    const whoami = ports.find(({ id }) => id === 'whoami/whoami/http')
    assert.deepEqual([ports.length, whoami?.vip, whoami?.endpoints.length], [8, '10.96.0.10', 5])
  })

  test('Envoy accepts translate --to envoy of the examples, and the bootstrap of a node', async () => {
    const bootstrap = await lightpath(['bootstrap', '--node-name', 'node1'])
    for (const [name, text] of [
      ['translated', await translated('envoy')],
      ['bootstrap', bootstrap.stdout],
    ] as const) {
      const config = join(temporary, `${name}.json`)
      writeFileSync(config, text)
      const args = ['--mode', 'validate', '--log-level', 'error', '--config-path', config]
      const { stdout, stderr } = await run(await envoyPath(), args)
      assert.match(stdout, / OK\n$/, stderr)
    }
  })

  test('nft loads translate --to nftables of the examples', { skip }, async () => {
    const network = await createNetwork({ nodes: 1 })
    try {
      const { netns } = network.nodes[0]!
      const loaded = await runIn(netns, 'nft', ['-f', '-'], { input: await translated('nftables') })
      assert.deepEqual([loaded.code, loaded.stderr], [0, ''])
      const { stdout } = await runIn(netns, 'nft', ['list', 'ruleset'])
      assert.match(stdout, /10\.96\.0\.10 \. tcp \. 80 : goto endpoints-tcp-5/)
      assert.match(stdout, /fd00:96::10 \. tcp \. 80 : goto endpoints-tcp-5/)
    } finally {
      await network.destroy()
    }
  })
})
