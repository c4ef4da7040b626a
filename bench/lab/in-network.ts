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
