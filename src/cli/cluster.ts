/** What looks at a cluster, or changes who serves its Services. */

import type { Command } from 'commander'
import { addOptions } from '../commands/config.ts'
import { kernel, ports } from './optionnames.ts'
import { outputFormat, outputOption, run } from './run.ts'

export function clusterCommands(program: Command): void {
  addOptions(
    program
      .command('preflight')
      .description(
        'say before anything is installed whether this node and its cluster are fit for Lightpath, and which layer each Service would get; changes nothing; exit code 1 where traffic would break',
      ),
    [
      ...([
        'nodeName',
        'source',
        'kubeconfig',
        'services',
        'families',
        'metricsPort',
        'servicesMetricsPort',
        'socket',
      ] as const),
      ...ports,
      ...kernel,
      'proxyMode',
      'clientAddress',
      'envoyPorts',
    ],
  )
    .option('--all-nodes', 'look at every node, by a pod on each that is removed again; needs no agent anywhere')
    .option(
      '--image <IMAGE>',
      "with --all-nodes: of Lightpath, as nodes have or can pull it (default: the agents', else one that the nodes have)",
    )
    .option('--timeout <SECONDS>', 'with --all-nodes: how long a node may take', '120')
    .addOption(outputOption())
    .action(
      run(async (config, _args, options) => {
        const output = outputFormat(options.output)
        if (options.allNodes !== true) return (await import('../commands/look/preflight.ts')).preflight(config, output)
        const { preflightAllNodes } = await import('../commands/cluster/all-nodes.ts')
        const image = typeof options.image === 'string' ? options.image : undefined
        return preflightAllNodes(config, { image, timeout: String(options.timeout), given: options, output })
      }),
    )

  addOptions(
    program
      .command('check')
      .description(
        'say of a cluster whether Lightpath works on each node: its pods, versions, the path to Envoy, a request through Envoy and one by the kernel layer, by pods that are removed again; exit code 1 where something is wrong',
      ),
    ['kubeconfig'],
  )
    .option('--image <IMAGE>', "of the pods that ask and answer (default: the agents')")
    .option('--timeout <SECONDS>', 'how long a pod may take', '90')
    .addOption(outputOption())
    .action(
      run(async (config, _args, { image, timeout, output }) =>
        (await import('../commands/cluster/check.ts')).check(config, {
          image: typeof image === 'string' ? image : undefined,
          timeout: String(timeout),
          output: outputFormat(output),
        }),
      ),
    )

  program
    .command('check-pod', { hidden: true })
    .description('what runs in the pods of `lightpath check`')
    .argument('<serve|ask>', 'answer requests, or make them')
    .argument('[LAYER=URL...]', 'whom to ask, and by which layer it is to be served')
    .action(
      run(async (_config, [what = '', ...targets]: string[]) =>
        (await import('../commands/cluster/check-pod.ts')).checkPod(what, targets),
      ),
    )

  addOptions(
    program
      .command('adopt')
      .description(
        'list the Services that the webhook would have handed over and that exist already; --yes hands them over, --back gives them back',
      )
      .argument('[namespace or namespace/name...]', 'only these'),
    ['kubeconfig'],
  )
    .option('--yes', 'move them; without it they are only listed')
    .option('--back', "the other way: Services that have the label are kube-proxy's again")
    .option('--force', 'also where nodes have no ready agent: nobody would serve the Services there')
    .addOption(outputOption())
    .action(
      run(async (config, chosen, { yes, back, force, output }) =>
        (await import('../commands/cluster/adopt.ts')).adopt(config, chosen, {
          yes: yes === true,
          back: back === true,
          force: force === true,
          output: outputFormat(output),
        }),
      ),
    )

  addOptions(
    program
      .command('endpoints')
      .description(
        'overrule what nodes have found dead (node --max-excluded): unexclude labels the Pod or Node, and control planes leave it in',
      )
      .argument('<unexclude>', 'what to do')
      .argument('<namespace/pod, IP:PORT or node...>', 'of what'),
    ['kubeconfig'],
  )
    .option('--undo', 'take the label back')
    .action(
      run(async (config, [what = '', ...targets]: string[], { undo }) =>
        (await import('../commands/cluster/endpoints.ts')).unexclude(config, what, targets, undo === true),
      ),
    )

  addOptions(
    program
      .command('webhook')
      .description(
        'hand new Services to Lightpath as the API server asks about them; makes and renews its certificate',
      ),
    ['kubeconfig', 'webhookAddress', 'webhookPort', 'certificate', 'clientAuthorities', 'clientNames', 'logLevel'],
  ).action(run(async config => (await import('../commands/cluster/webhook.ts')).runWebhook(config)))

  addOptions(
    program
      .command('controlplane')
      .description(
        'watch the cluster once for many nodes, and tell their agents (`node --control-planes`) what changes',
      ),
    [
      'source',
      'kubeconfig',
      'controlPlaneAddress',
      'controlPlaneCertificate',
      'controlPlaneState',
      'maxStaleness',
      'maxUnready',
      'metricsAddress',
      'metricsPort',
      'logLevel',
    ],
  ).action(run(async config => (await import('../commands/cluster/controlplane.ts')).runControlPlane(config)))

  addOptions(
    program
      .command('uninstall')
      .description(
        'say what there is of Lightpath in the cluster, whatever is gone of it already; --yes hands the Services back to kube-proxy, ends agents and Envoys, cleans every node and removes the rest',
      ),
    ['kubeconfig'],
  )
    .option('--yes', 'do it; without it only what was found is told')
    .option('--force', 'also where the agents serve all Services and no pod of kube-proxy is seen')
    .option('--image <IMAGE>', "with which nodes are cleaned (default: the agents', else one that the nodes have)")
    .option('--timeout <SECONDS>', 'how long nodes may take to be clean', '300')
    .addOption(outputOption())
    .action(
      run(async (config, _args, { yes, force, image, timeout, output }) =>
        (await import('../commands/cluster/uninstall.ts')).runUninstall(config, {
          yes: yes === true,
          force: force === true,
          image: typeof image === 'string' ? image : undefined,
          timeout: String(timeout),
          output: outputFormat(output),
        }),
      ),
    )
}
