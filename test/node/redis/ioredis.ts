/**
 * ioredis in a pod: `ioredis.ts single|cluster HOST` goes through what applications do with it, and prints each answer as a field of
 * one JSON object.
 */

import { Cluster, Redis } from 'ioredis'

const [, , kind, host = ''] = process.argv
const timeout = 20_000

async function single(): Promise<object> {
  const redis = new Redis({ host, db: 2, username: 'app', password: 'secret', commandTimeout: timeout })
  const subscriber = redis.duplicate()
  const worker = redis.duplicate()
  const keys = Array.from({ length: 1000 }, (_, index) => `key-${index}`)
  const written = await keys.reduce((pipeline, key) => pipeline.set(key, `of-${key}`), redis.pipeline()).exec()
  const read = await redis.mget(keys)
  await redis.watch('balance')
  await worker.set('balance', '1')
  const lost = await redis.multi().set('balance', '2').exec()
  const done = await redis.multi().incr('balance').get('balance').exec()
  const heard = new Promise(resolve => subscriber.once('message', (_channel, message) => resolve(message)))
  await subscriber.subscribe('news')
  const job = worker.blpop('jobs', timeout / 1000)
  await redis.publish('news', 'hello')
  await redis.rpush('jobs', 'one')
  const report = {
    user: await redis.call('ACL', 'WHOAMI'),
    pipelined: written?.filter(([error, answer]) => error === null && answer === 'OK').length,
    read: read.filter((value, index) => value === `of-${keys[index]}`).length,
    lost,
    done: done?.map(([, answer]) => answer),
    heard: await heard,
    job: await job,
    scanned: (await redis.keys('key-*')).length,
    script: await redis.eval('return ARGV[1]', 0, 'seven'),
  }
  for (const client of [redis, subscriber, worker]) await client.quit()
  return report
}

async function cluster(): Promise<object> {
  const redis = new Cluster([{ host, port: 6379 }], { redisOptions: { commandTimeout: timeout } })
  const keys = Array.from({ length: 100 }, (_, index) => `key-${index}`)
  await Promise.all(keys.map(key => redis.set(key, `of-${key}`)))
  const read = await Promise.all(keys.map(key => redis.get(key)))
  const report = {
    read: read.filter((value, index) => value === `of-${keys[index]}`).length,
    nodes: redis.nodes('master').length,
  }
  await redis.quit()
  return report
}

const report = await (kind === 'cluster' ? cluster() : single())
process.stdout.write(JSON.stringify(report), () => process.exit())
