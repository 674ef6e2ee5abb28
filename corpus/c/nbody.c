/* Five bodies under gravity, symplectic steps. */
#include "kernel.h"

#include <math.h>

#define BODIES 5
#define STEPS TIMES(2500000)

struct body {
    double position[3], velocity[3], mass;
};

static struct body bodies[BODIES];

static void advance(double dt)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            double delta[3], squared = 0.01;
            for (int axis = 0; axis < 3; axis++) {
                delta[axis] = bodies[i].position[axis] - bodies[j].position[axis];
                squared += delta[axis] * delta[axis];
            }
            double pull = dt / (squared * sqrt(squared));
            for (int axis = 0; axis < 3; axis++) {
                bodies[i].velocity[axis] -= delta[axis] * bodies[j].mass * pull;
                bodies[j].velocity[axis] += delta[axis] * bodies[i].mass * pull;
            }
        }
    for (int i = 0; i < BODIES; i++)
        for (int axis = 0; axis < 3; axis++)
            bodies[i].position[axis] += dt * bodies[i].velocity[axis];
}

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < BODIES; i++) {
        for (int axis = 0; axis < 3; axis++) {
            bodies[i].position[axis] = 10 * random_f64(&seed) - 5;
            bodies[i].velocity[axis] = random_f64(&seed) - 0.5;
        }
        bodies[i].mass = 1 + 5 * random_f64(&seed);
    }
    for (int step = 0; step < STEPS; step++)
        advance(0.001);
    return report("nbody", checksum_f64s(CHECKSUM, bodies[0].position, sizeof bodies / sizeof(double)));
}
