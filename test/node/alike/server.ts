/**
 * The endpoints of all inputs, one process: input 0 at port 2000, the next at 2001. `GET /` at port 1999 tells what came
 * since it was last asked: of each input the bytes of each connection.
 */

import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { Input } from './input.ts'
import { type Line, lineOf } from './play.ts'

const inputs = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as readonly Input[]
const lines: Line[][] = inputs.map(() => [])

const servers = inputs.map(({ server: script }, index) =>
  createServer({ allowHalfOpen: true }, async socket => {
    const line = lineOf(socket)
    lines[index]!.push(line)
    // A connection that has said nothing new is played no second time: a script of writes alone would not end.
    do {
      for (const step of script) await line.play(step)
    } while (line.end() === 'open' && !socket.destroyed && socket.writable)
    socket.end()
  }).listen(2000 + index),
)

const control = createHttpServer((_, response) => {
  response.end(JSON.stringify(lines.map(all => all.map(line => line.received()))))
  for (const all of lines) all.length = 0
}).listen(1999)

await Promise.all([...servers, control].map(server => new Promise(resolve => server.once('listening', resolve))))
process.stdout.write('ready\n')
