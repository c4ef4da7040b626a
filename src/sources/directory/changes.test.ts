import assert from 'node:assert/strict'
import { renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'

import { follow, json, service } from './testing.ts'

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
