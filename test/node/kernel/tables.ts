/** Service ports for tests of the tables. */

import { portState } from '../../../src/kernel/testing/states.ts'

export const web = portState('a/web/http', '10.96.0.1', ['10.1.0.1:80@node1', '10.1.0.2:80@node2', '10.1.0.3:80@node2'])
export const web6 = portState('a/web/http/IPv6', 'fd00:96::1', ['fd01::1 80@node1'])
export const dns = portState('a/dns/53', '10.96.0.2', [], { port: { name: '', protocol: 'UDP', port: 53 } })
export const vipPort = { ip: '10.96.0.1', port: 80 }
