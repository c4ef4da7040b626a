/** What runs a node: the agent, what it and Envoy need, and what takes it off again. */

import type { Command } from 'commander'
import { addOptions } from '../commands/config.ts'
import { conntrack, kernel, sockets } from './optionnames.ts'
import { run } from './run.ts'

export function agentCommands(program: Command): void {
  addOptions(
    program.command('node').description('run the agent of this node: watch Services, tell Envoy and the kernel'),
    [
      'nodeName',
      'source',
      'controlPlanes',
      'controlPlaneService',
      'controlPlaneAuthority',
      'controlPlaneToken',
      'controlPlanePatience',
      'maxExcluded',
      'kubeconfig',
      'services',
      'families',
      'redirectPort',
      ...sockets,
      'metricsAddress',
      'metricsPort',
      'servicesMetricsPort',
      'metricsBindAddress',
      'healthzBindAddress',
      'socket',
      ...kernel,
      'proxyMode',
      'clientAddress',
      'pathTest',
      ...conntrack,
      'envoyPortsPerService',
      'envoyPortsPerNamespace',
      'envoyPorts',
      'envoyEndpointsPerPort',
      'lbPolicy',
      'firstBytesTimeout',
      'drainTime',
      'accessLogRate',
      'logLevel',
    ],
  ).action(run(async config => (await import('../commands/node/node.ts')).runNode(config)))

  addOptions(
    program
      .command('prepare')
      .description(
        "set what the node's kernel needs (conntrack, local ports, handover between Envoys), as `node` does where it may: for an init container that may more",
      ),
    ['nodeName', 'services', 'clientAddress', ...conntrack],
  ).action(run(async config => (await import('../commands/node/prepare.ts')).prepare(config)))

  addOptions(
    program.command('bootstrap').description("print the bootstrap of this node's Envoy, for `envoy -c FILE`"),
    ['nodeName', 'envoySockets', 'adminPort', 'envoyHeap', 'envoyModule', 'envoyMark', 'clientAddress'],
  ).action(run(async config => (await import('../commands/node/bootstrap.ts')).printBootstrap(config)))

  addOptions(
    program
      .command('overlay')
      .description('take the whole node down to the kernel layer (off) and back (on); works without an agent')
      .argument('<on|off|show>', 'what to do'),
    ['families', 'proxyMode'],
  ).action(
    run(async (config, [what = '']: string[]) =>
      (await import('../commands/node/overlay.ts')).switchOverlay(config, what),
    ),
  )

  addOptions(
    program.command('cleanup').description("remove everything that Lightpath ever made in this node's kernel"),
    ['routeTable', 'socket', 'envoySockets', 'redirectPort'],
  )
    .option('--after-envoy', 'take new connections off Envoy first, and wait until it has ended, 11 minutes at most')
    .action(
      run(async (config, _args, { afterEnvoy }) =>
        (await import('../commands/node/cleanup.ts')).cleanUp(config, afterEnvoy === true),
      ),
    )
}
