/** A network for as long as something is measured in it. */

import { createNetwork, type Network, type NetworkOptions } from '../../src/lab/network.ts'

export async function inNetwork<T>(
  measure: (network: Network) => Promise<T>,
  options: NetworkOptions = { nodes: 2 },
): Promise<T> {
  const network = await createNetwork(options)
  try {
    return await measure(network)
  } finally {
    await network.destroy()
  }
}

/**
 * The same with what is built in the network when it is first asked for: not at all where a run goes on behind all the steps that
 * need it.
 */
export async function inBuilt<Built, T>(
  options: NetworkOptions,
  build: (network: Network) => Promise<Built>,
  measure: (built: () => Promise<Built>) => Promise<T>,
): Promise<T> {
  let network: Network | undefined
  let building: Promise<Built> | undefined
  const built = async () => {
    network ??= await createNetwork(options)
    building ??= build(network)
    return building
  }
  try {
    return await measure(built)
  } finally {
    await network?.destroy()
  }
}
