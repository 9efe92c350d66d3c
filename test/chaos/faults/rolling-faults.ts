import type { Fault } from '../fault.ts';
import { endLeases, see } from './seen.ts';

export const rollingRestart: Fault = {
  number: 25,
  name: 'a rolling restart of every process in random order, and connections closed by the broker',
  allows: ['tool'],
  inject: async (chaos, onHeal) => {
    onHeal(() => endLeases(chaos));
    const { adapters, agentCores, outboundSenders } = chaos.stack;
    const replicas = [...adapters, ...agentCores, ...outboundSenders];
    const order = replicas.map((replica) => ({ replica, at: chaos.random() })).sort((a, b) => a.at - b.at);
    const countStops = () =>
      replicas.reduce((sum, replica) => sum + replica.output().split('"service.stopped"').length - 1, 0);
    const before = countStops();
    for (const { replica } of order) {
      await replica.kill('SIGTERM');
      await replica.start();
    }
    await chaos.stack.vhost.closeConnections();
    return async () => {
      await see('every process to have stopped in good order', () => countStops() - before >= replicas.length);
      return `${replicas.length} processes stopped in good order and came back, one after the other`;
    };
  },
};
