/**
 * grpc-js in a pod, all on one connection; prints a report as the Go program does:
 *
 *     client.ts unary|streams ADDRESS COUNT
 *     client.ts idle ADDRESS SECONDS        a stream with two questions, and nothing for so long between them
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js'

const [, , kind, address = '', count = '1'] = process.argv
const client = new Client(address, credentials.createInsecure())
const report: { Shares: Record<string, number>; Errors: Record<string, number> } = { Shares: {}, Errors: {} }
const asItIs = (bytes: Buffer) => bytes
const nothing = Buffer.alloc(0)

function add(error: ServiceError | null, answer?: Buffer): void {
  const [counts, key] = error ? [report.Errors, status[error.code]] : [report.Shares, String(answer)]
  counts[key] = (counts[key] ?? 0) + 1
}

const call = () =>
  new Promise<void>(resolve => {
    client.makeUnaryRequest('/lab/Name', asItIs, asItIs, nothing, (error, answer) => {
      add(error, answer)
      resolve()
    })
  })

const chat = () =>
  new Promise<void>(resolve => {
    const stream = client.makeBidiStreamRequest('/lab/Chat', asItIs, asItIs)
    stream.once('data', (answer: Buffer) => {
      add(null, answer)
      stream.removeAllListeners('error').on('error', () => undefined)
      resolve()
    })
    stream.once('error', (error: ServiceError) => {
      add(error)
      resolve()
    })
    stream.write(nothing)
  })

const idle = (seconds: number) =>
  new Promise<void>(resolve => {
    let isAskedAgain = false
    const stream = client.makeBidiStreamRequest('/lab/Chat', asItIs, asItIs)
    stream.on('data', (answer: Buffer) => {
      add(null, answer)
      if (isAskedAgain) return resolve()
      isAskedAgain = true
      void sleep(seconds * 1000).then(() => stream.write(nothing))
    })
    stream.once('error', (error: ServiceError) => {
      add(error)
      resolve()
    })
    stream.write(nothing)
  })

if (kind === 'idle') await idle(Number(count))
else for (let i = 0; i < Number(count); i++) await (kind === 'streams' ? chat() : call())
process.stdout.write(JSON.stringify(report), () => process.exit())
