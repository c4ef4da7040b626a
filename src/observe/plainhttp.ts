/**
 * node:http as far as the agent uses it. An import of it reads all that it exports, and so loads its WebSocket, with all of
 * undici: 4 MB.
 */

export const { createServer, get } = process.getBuiltinModule('node:http')
