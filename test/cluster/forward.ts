/** `node forward.ts PORT SOCKET`: in a network namespace, takes connections of a loopback port to a Unix socket outside. */

import { connect, createServer } from 'node:net'

const [port, socket] = process.argv.slice(2)

createServer(client => {
  const target = connect(socket!)
  client.pipe(target).pipe(client)
  client.on('error', () => target.destroy())
  target.on('error', () => client.destroy())
}).listen(Number(port), '127.0.0.1')
