/** Opens idle connections to an address until it has so many, and holds them until it is ended. Prints how many are open then. */

import { connect, type Socket } from 'node:net'

const [ip = '', port = '', count = ''] = process.argv.slice(2)
const atATime = 200

const held: Socket[] = []
let failed = 0

function open(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const socket = connect(Number(port), ip)
  socket.on('connect', () => {
    held.push(socket)
    resolve()
  })
  socket.on('error', () => {
    failed++
    resolve()
  })
  return promise
}

while (held.length + failed < Number(count)) {
  const missing = Number(count) - held.length - failed
  await Promise.all(Array.from({ length: Math.min(atATime, missing) }, open))
}
console.log(held.filter(({ destroyed }) => !destroyed).length)
