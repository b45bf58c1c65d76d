/**
 * The priority of a load is a weight: while several loads have work, each is given slots, sockets and places in the windows
 * of links in proportion to it. A load that is alone has everything, whatever its priority; and one of priority 1 beside one
 * of 100 still goes on, at a hundredth of the rate. Of loads that wait for their turn to begin, the highest goes first.
 */
export const lowestPriority = 1;
export const highestPriority = 100;
export const defaultPriority = 10;
