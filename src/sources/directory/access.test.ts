import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../testing.ts'

import { follow, service } from './testing.ts'

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
