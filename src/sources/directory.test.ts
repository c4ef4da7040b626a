import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Service } from '../services/objects/service.ts'
import { directorySource } from './directory.ts'
import { RecordingListener, silentLog, until } from './testing.ts'

const service = (name: string, port = 80) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {clusterIP: 10.0.0.1, ports: [{port: ${port}}]}\n`

interface Followed {
  readonly root: string
  readonly listener: RecordingListener
  /** The files that were read, of those with an object that is ignored. */
  readonly reads: string[]
  write(name: string, text: string): void
  path(name: string): string
  /** Waits until the known Services are those with these names and ports. */
  shows(...services: readonly string[]): Promise<void>
  /** Waits until the current problems are as many as the patterns, and match them in order of their text. */
  tells(...patterns: readonly RegExp[]): Promise<void>
}

/** A directory with these files that is followed until the test is over. */
async function follow(t: TestContext, files: Readonly<Record<string, string>>, missing = false): Promise<Followed> {
  const parent = mkdtempSync(join(tmpdir(), 'lightpath-directory-'))
  const root = join(parent, 'manifests')
  if (!missing) mkdirSync(root)
  const path = (name: string) => join(root, name)
  const write = (name: string, text: string) => {
    mkdirSync(dirname(path(name)), { recursive: true })
    writeFileSync(path(name), text)
  }
  for (const [name, text] of Object.entries(files)) write(name, text)
  const listener = new RecordingListener()
  const reads: string[] = []
  const log = { ...silentLog, debug: ({ file }: { file?: unknown }) => reads.push(basename(String(file))) }
  const source = directorySource(root, { log, rescanMs: 500 })
  t.after(async () => {
    await source.stop()
    rmSync(parent, { recursive: true, force: true })
  })
  await source.start(listener)
  if (!missing)
    await until(
      () => listener.timesSynced === 1,
      () => listener.told().join('\n'),
    )
  const ports = () =>
    [...listener.objects.values()].map(object => `${object.name}:${(object as Service).ports[0]?.port}`).sort()
  return {
    root,
    listener,
    reads,
    write,
    path,
    shows: (...expected) =>
      until(
        () => `${ports()}` === `${expected}`,
        () => `${ports()} instead of ${expected}; ${listener.told()}`,
      ),
    tells: (...patterns) =>
      until(
        () =>
          listener.told().length === patterns.length &&
          patterns.every((p, i) => p.test(listener.told().toSorted()[i]!)),
        () => `problems: ${listener.told().join('\n')}`,
      ),
  }
}

test('YAML and JSON files of any depth are read, with several documents and lists in one', async t => {
  const json = {
    apiVersion: 'v1',
    kind: 'List',
    items: [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }],
  }
  const { listener } = await follow(t, {
    'a.yaml': `${service('one')}---\n${service('two')}---\n# nothing\n---\n`,
    'deep/er/b.yml': `apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: three, namespace: shop}\n  spec: {clusterIP: None}\n`,
    'c.json': JSON.stringify(json),
    'notes.txt': 'no manifest',
    '.hidden.yaml': service('hidden'),
    'deployment.yaml': 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: one}\n',
  })
  assert.deepEqual([...listener.objects.keys()].sort(), [
    'Namespace shop',
    'Service shop/one',
    'Service shop/three',
    'Service shop/two',
  ])
  assert.deepEqual(listener.told(), [])
})

test('a Service that leaves its address to the API server is reported, as there is none', async t => {
  const spec = (text: string) => service('one').replace('clusterIP: 10.0.0.1', text)
  const { tells, write } = await follow(t, { 'a.yaml': spec('type: NodePort') })
  for (const whole of ['clusterIP: None', 'type: ExternalName', 'clusterIPs: [10.0.0.1]']) {
    await tells(/LP102 Service shop\/one: spec.clusterIP is missing.*it is not served/)
    write('a.yaml', spec(whole))
    await tells()
    write('a.yaml', spec("clusterIP: ''"))
  }
})

test('a change of a file reports only what is different', async t => {
  const { listener, write, shows } = await follow(t, {
    'a.yaml': `${service('one')}---\n${service('two')}`,
    'b.yaml': service('three'),
  })
  listener.history.length = 0
  write('a.yaml', `${service('one', 81)}---\n${service('two')}`)
  await shows('one:81', 'three:80', 'two:80')
  assert.deepEqual(listener.history, ['put Service shop/one'])
})

test('a file is read again only when it has changed itself', async t => {
  const deployment = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: one}\n---\n'
  const { reads, write, shows } = await follow(t, {
    'a.yaml': `${deployment}${service('one')}`,
    'b.yaml': `${deployment}${service('two')}`,
  })
  reads.length = 0
  write('a.yaml', `${deployment}${service('one', 81)}`)
  write('new/directory/c.yaml', service('three'))
  await shows('one:81', 'three:80', 'two:80')
  assert.deepEqual(new Set(reads), new Set(['a.yaml']))
})

test('a file removed takes its objects with it, and so does a directory', async t => {
  const { listener, path, shows } = await follow(t, {
    'a.yaml': service('one'),
    'b.yaml': service('two'),
    'c/d/e.yaml': service('three'),
  })
  unlinkSync(path('a.yaml'))
  await shows('three:80', 'two:80')
  rmSync(path('c'), { recursive: true })
  await shows('two:80')
  assert.deepEqual(listener.phantoms, [])
})

test('new directories are followed, however deep they come', async t => {
  const { write, shows } = await follow(t, {})
  write('x/y/z/a.yaml', service('one'))
  await shows('one:80')
  write('x/y/z/a.yaml', service('one', 81))
  await shows('one:81')
})

test('a broken document is reported with its line, the file’s former objects stay, and everything else applies', async t => {
  const { write, shows, tells, path } = await follow(t, {
    'a.yaml': `${service('one')}---\n${service('three')}`,
    'b.yaml': service('two'),
  })
  write('a.yaml', `${service('one', 81)}---\nkind: [\n---\n${service('four')}`)
  await tells(/^LP101 .*\/a\.yaml:[67]: .*this document is left out/)
  await shows('four:80', 'one:81', 'three:80', 'two:80')
  write('b.yaml', service('two', 82))
  await shows('four:80', 'one:81', 'three:80', 'two:82')
  write('a.yaml', service('one', 83))
  await shows('one:83', 'two:82')
  await tells()
  write('a.yaml', 'a: b: c')
  await tells(/LP101/)
  unlinkSync(path('a.yaml'))
  await shows('two:82')
  await tells()
})

test('a document that is broken from the start does not keep the rest waiting', async t => {
  const { shows, tells } = await follow(t, {
    'a.yaml': 'kind:\n\t- Service\n',
    'b.yaml': service('one'),
    'c.json': '{\n"kind": "Service",\n}',
  })
  await shows('one:80')
  await tells(/LP101 .*a\.yaml:2: .*[Tt]ab/, /LP101 .*c\.json:3: .*JSON/)
})

test('an alias that multiplies without end, or refers to itself, is a broken file', async t => {
  const laughs = Array.from({ length: 12 }, (_, i) => `- &a${i + 1} [${Array(10).fill(`*a${i}`)}]`).join('\n')
  const { tells } = await follow(t, {
    'a.yaml': `- &a0 ha\n${laughs}\n`,
    'b.yaml': 'kind: &x\n  y: *x\n',
    'c.yaml': `${'['.repeat(20_000)}`,
  })
  await tells(/LP101 .*a\.yaml:1: .*alias/, /LP101 .*b\.yaml:1: .*within itself/, /LP101 .*c\.yaml/)
})

test('byte order marks, CRLF and empty files are no problem', async t => {
  const { shows, tells } = await follow(t, {
    'a.yaml': `\uFEFF${service('one').replaceAll('\n', '\r\n')}`,
    'b.json': `\uFEFF{"apiVersion":"v1","kind":"Service","metadata":{"name":"two"},"spec":{"clusterIP":"10.0.0.2","ports":[{"port":80}]}}`,
    'c.yaml': '',
    'd.json': '\n',
    'e.yaml': '# a comment only\n',
  })
  await shows('one:80', 'two:80')
  await tells()
})

test('an object that lacks what it needs is reported with its line, and its neighbours apply', async t => {
  const { shows, tells } = await follow(t, {
    'a.yaml': `${service('one')}---\napiVersion: v1\nkind: Service\nmetadata: {}\n---\njust text\n`,
  })
  await shows('one:80')
  await tells(/LP102 \/.*a\.yaml:10: "just text"/, /LP102 Service in .*a\.yaml:6: metadata\.name/)
})

test('a file that is written slowly is not reported as broken or empty, and nothing vanishes meanwhile', async t => {
  const { listener, write, path, shows } = await follow(t, { 'a.json': json('one', 80) })
  listener.history.length = 0
  const text = json('one', 81)
  writeFileSync(path('a.json'), '')
  for (let i = 0; i < text.length; i += 20) {
    await new Promise(resolve => setTimeout(resolve, 30))
    write('a.json', text.slice(0, i))
    assert.deepEqual(listener.told(), [])
  }
  write('a.json', text)
  await shows('one:81')
  assert.deepEqual(listener.history, ['put Service shop/one'])
})

const json = (name: string, port: number) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { clusterIP: '10.0.0.1', ports: [{ port }] },
  })

test('editors that write by renaming, with or without a backup, change the object and never remove it', async t => {
  const { listener, path, shows } = await follow(t, { 'a.yaml': service('one') })
  for (const port of [81, 82]) {
    writeFileSync(path('.a.yaml.tmp'), service('one', port))
    if (port === 82) renameSync(path('a.yaml'), path('a.yaml~'))
    await new Promise(resolve => setTimeout(resolve, 20))
    renameSync(path('.a.yaml.tmp'), path('a.yaml'))
    await shows(`one:${port}`)
  }
  assert.deepEqual(listener.history, Array(3).fill('put Service shop/one'))
})

test('an object that moves to another file is not removed in between', async t => {
  const { listener, write, path, shows } = await follow(t, { 'a.yaml': service('one') })
  renameSync(path('a.yaml'), path('b.yaml'))
  write('c.yaml', service('two'))
  await shows('one:80', 'two:80')
  write('b.yaml', service('three'))
  write('d.yaml', service('one'))
  await shows('one:80', 'three:80', 'two:80')
  assert.ok(!listener.history.some(line => line.startsWith('remove')), listener.history.join())
  assert.deepEqual(listener.told(), [])
})

test('of an object in two files the first by name applies and both are reported, until one goes', async t => {
  const { path, shows, tells } = await follow(t, { 'a.yaml': service('one', 81), 'b.yaml': service('one', 82) })
  await shows('one:81')
  await tells(/LP103 Service shop\/one: .*b\.yaml and .*a\.yaml both define it; the definition in .*a\.yaml applies/)
  unlinkSync(path('a.yaml'))
  await shows('one:82')
  await tells()
})

test('an object twice in one file is reported, and the first applies', async t => {
  const { shows, tells } = await follow(t, { 'a.yaml': `${service('one', 81)}---\n${service('one', 82)}` })
  await shows('one:81')
  await tells(/LP103 Service shop\/one: .*a\.yaml:6 defines it a second time; the first definition applies/)
})

test('a Kubernetes volume, whose links all change at once, changes without removals', async t => {
  const { root, listener, path, shows } = await follow(t, {})
  const release = (name: string, files: Readonly<Record<string, string>>) => {
    mkdirSync(path(name))
    for (const [file, text] of Object.entries(files)) writeFileSync(path(join(name, file)), text)
    symlinkSync(name, path('..data_tmp'))
    renameSync(path('..data_tmp'), path('..data'))
  }
  release('..1', { 'a.yaml': service('one'), 'b.yaml': service('two') })
  symlinkSync('..data/a.yaml', path('a.yaml'))
  symlinkSync('..data/b.yaml', path('b.yaml'))
  await shows('one:80', 'two:80')
  release('..2', { 'a.yaml': service('one', 81), 'b.yaml': service('two', 82) })
  rmSync(join(root, '..1'), { recursive: true })
  await shows('one:81', 'two:82')
  assert.ok(!listener.history.some(line => line.startsWith('remove')), listener.history.join())
  assert.deepEqual(listener.told(), [])
})

test('links to files and directories are followed, in circles only once, and to nowhere they are reported', async t => {
  const { path, write, shows, tells } = await follow(t, { 'a.yaml': service('one'), '.hidden/b.yaml': service('two') })
  symlinkSync('.hidden', path('linked'))
  symlinkSync('.', path('circle'))
  symlinkSync('nowhere', path('c.yaml'))
  await shows('one:80', 'two:80')
  await tells(/LP101 .*c\.yaml: it is a link that leads nowhere/)
  write('.hidden/b.yaml', service('two', 81))
  await shows('one:80', 'two:81')
})

test('a link that leads out of the directory is reported and not read, whatever is there', async t => {
  const { root, path, write, shows, tells } = await follow(t, { 'a.yaml': service('one') })
  write('../secret', 'root:$6$salt$hash: {\n')
  write('../outside/b.yaml', service('two'))
  symlinkSync(join(root, '..', 'secret'), path('b.yaml'))
  // Reading it would wait for ever.
  symlinkSync('/proc/kmsg', path('c.yaml'))
  symlinkSync('../outside', path('linked'))
  const out = (name: string) =>
    new RegExp(`LP10[14] .*${name}: it is a link that leads out of the directory; it is left out`)
  await tells(out('b\\.yaml'), out('c\\.yaml'), out('linked'))
  write('a.yaml', service('one', 81))
  await shows('one:81')
})

test('what is wrong with a file is reported without quoting it', async t => {
  const { tells } = await follow(t, {
    'a.yaml': 'secret: [hash',
    'b.json': 'root:secret:0:0',
    'c.yaml': 'secret: 1\nsecret: 2',
    'd.yaml': 'a: *secret',
  })
  const told = (name: string) => new RegExp(`^(?!.*secret).*LP10[12] .*${name}`)
  await tells(told('a.yaml'), told('b.json'), told('d.yaml'), told('c.yaml:1: kind'), told('c.yaml:2: a key'))
})

test('while a large file is read everything else goes on, and `synced` waits for it', async t => {
  const items = Array.from({ length: 3000 }, (_, i) => `- ${service(`a${i}`).trimEnd().replaceAll('\n', '\n  ')}\n`)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  t.after(() => clearInterval(timer))
  const { listener } = await follow(t, { 'a.yaml': `kind: List\napiVersion: v1\nitems:\n${items.join('')}` })
  assert.equal(listener.objects.size, 3000)
  assert.ok(turns > 50, `${turns} turns of the event loop`)
})

test('a file that cannot be a manifest is reported and never opened: a pipe would wait for ever', async t => {
  const { path, write, shows, tells } = await follow(t, { 'a.yaml': service('one') })
  execFileSync('mkfifo', [path('pipe.yaml')])
  await tells(/LP101 .*pipe\.yaml: it is no regular file/)
  write('a.yaml', service('one', 81))
  await shows('one:81')
})

test('a directory that vanishes keeps its objects, is reported, and is picked up when it returns', async t => {
  const { root, listener, write, shows, tells } = await follow(t, { 'a.yaml': service('one') })
  renameSync(root, `${root}.away`)
  await tells(/LP104 .*manifests: ENOENT/)
  assert.equal(listener.objects.size, 1)
  mkdirSync(root)
  write('b.yaml', service('two'))
  await shows('two:80')
  await tells()
  write('b.yaml', service('two', 81))
  await shows('two:81')
})

test('a directory that is removed with everything in it keeps its objects', async t => {
  const { root, listener, tells } = await follow(t, { 'a.yaml': service('one'), 'b.yaml': service('two') })
  rmSync(root, { recursive: true })
  await tells(/LP104/)
  assert.equal(listener.objects.size, 2)
})

test('`synced` waits for a directory that is not there at first', async t => {
  const { listener, write, shows, tells } = await follow(t, {}, true)
  await tells(/LP104/)
  assert.equal(listener.timesSynced, 0)
  write('a.yaml', service('one'))
  await shows('one:80')
  await until(
    () => listener.timesSynced === 1,
    () => 'not synced',
  )
})

test('an unreadable file keeps its objects, and is read once it may be', async t => {
  const asNobody = process.getuid?.() === 0
  const followed = await follow(t, { 'a.yaml': service('one'), 'sub/b.yaml': service('two') })
  const { listener, path, write, shows, tells } = followed
  for (const name of ['.', '..', 'sub']) chmodSync(path(name), 0o777)
  // Root may read everything; as nobody the test meets the permissions of other users.
  if (asNobody) process.seteuid?.(65534)
  const asOwner = (act: () => void) => {
    if (asNobody) process.seteuid?.(0)
    act()
    if (asNobody) process.seteuid?.(65534)
  }
  try {
    asOwner(() => {
      write('a.yaml', service('one', 81))
      chmodSync(path('a.yaml'), 0)
      chmodSync(path('sub'), 0)
      write('c.yaml', service('three'))
      mkdirSync(path('touch'))
    })
    await shows('one:80', 'three:80', 'two:80')
    await until(
      () => listener.told().length === 2,
      () => listener.told().join('\n'),
      15_000,
    )
    assert.match(listener.told().join('\n'), /LP101 .*a\.yaml: EACCES/)
    assert.match(listener.told().join('\n'), /LP104 .*sub: EACCES/)
    asOwner(() => {
      chmodSync(path('a.yaml'), 0o666)
      chmodSync(path('sub'), 0o777)
      mkdirSync(path('touch2'))
    })
    await shows('one:81', 'three:80', 'two:80')
    await tells()
  } finally {
    if (asNobody) process.seteuid?.(0)
  }
})

test('the target of a link, which no watch reports, is followed by the regular scan', async t => {
  const { path, shows } = await follow(t, {})
  const target = path('.target.yaml')
  writeFileSync(target, service('one'))
  symlinkSync(target, path('a.yaml'))
  await shows('one:80')
  writeFileSync(target, service('one', 81))
  await shows('one:81')
})
