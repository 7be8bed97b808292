"""The course's equations in NumPy: examples in columns (n_x, m), float64, no Keras.

Layer l has W of (n_l, n_(l-1)) and b of (n_l, 1): Z = W A + b, A = g(Z). Costs are means over the m examples.
"""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    t = np.exp(z - z.max(axis=0, keepdims=True))
    return t / t.sum(axis=0, keepdims=True)


HIDDEN = {  # g and its derivative
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
}
OUTPUT = {"sigmoid": sigmoid, "softmax": softmax, "linear": lambda z: z}


def logistic_regression(w, b, x, y):
    """A (1, m), the cost J, dw (n_x, 1) and db for weights w of (n_x, 1) and one number b."""
    m = x.shape[1]
    a = sigmoid(w.T @ x + b)
    j = -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum() / m
    return a, j, x @ (a - y).T / m, (a - y).sum() / m


def forward(x, parameters, hidden, output, masks=(), keeps=()):
    """A^L (n_L, m), and for every layer its cache: A of the layer before, Z.

    ``masks`` has zeros and ones (n_l, m) for each hidden layer, ``keeps`` the probability of a one: inverted
    dropout is A * mask / keep.
    """
    a, caches = x, []
    for layer, (w, b) in enumerate(parameters):
        z = w @ a + b
        caches.append((a, z))
        if layer == len(parameters) - 1:
            return OUTPUT[output](z), caches
        a = HIDDEN[hidden][0](z)
        if masks:
            a = a * masks[layer] / keeps[layer]
    raise ValueError("a network has at least one layer")


def cost(a, y, output, parameters=(), lambda1=0.0, lambda2=0.0):
    """Cross-entropy, or half the mean squared error of a linear output, and lambda / (2 m) times L1 and L2."""
    m = y.shape[1]
    if output == "sigmoid":
        j = -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum() / m
    elif output == "softmax":
        j = -(y * np.log(a)).sum() / m
    else:
        j = ((a - y) ** 2).sum() / (2 * m)
    j += lambda1 / (2 * m) * sum(np.abs(w).sum() for w, _ in parameters)
    return j + lambda2 / (2 * m) * sum((w**2).sum() for w, _ in parameters)


def backward(a, y, caches, parameters, hidden, masks=(), keeps=(), lambda1=0.0, lambda2=0.0):
    """[(dW, db)] of the cost; dZ^L is A^L - Y for each of the three outputs."""
    m = y.shape[1]
    dz, gradients = a - y, []
    for layer in reversed(range(len(parameters))):
        before, _ = caches[layer]
        w, _ = parameters[layer]
        dw = dz @ before.T / m + lambda2 / m * w + lambda1 / (2 * m) * np.sign(w)
        gradients.append((dw, dz.sum(axis=1, keepdims=True) / m))
        if layer:
            da = w.T @ dz
            if masks:
                da = da * masks[layer - 1] / keeps[layer - 1]
            dz = da * HIDDEN[hidden][1](caches[layer - 1][1])
    return gradients[::-1]


def normalize(x, train):
    """x minus the mean of train, divided by the root of its variance, feature by feature."""
    mu = train.mean(axis=1, keepdims=True)
    sigma2 = ((train - mu) ** 2).mean(axis=1, keepdims=True)
    return (x - mu) / np.sqrt(sigma2)


# one update of W or b each: from w, dw, (v, s) and t = 1, 2, ... to w and (v, s)


def gradient_descent(w, dw, averages, t, *, alpha):
    return w - alpha * dw, averages


def momentum(w, dw, averages, t, *, alpha, beta):
    v = beta * averages[0] + (1 - beta) * dw
    return w - alpha * v, (v, averages[1])


def rmsprop(w, dw, averages, t, *, alpha, beta, epsilon):
    s = beta * averages[1] + (1 - beta) * dw**2
    return w - alpha * dw / (np.sqrt(s) + epsilon), (averages[0], s)


def adam(w, dw, averages, t, *, alpha, beta1, beta2, epsilon):
    v = beta1 * averages[0] + (1 - beta1) * dw
    s = beta2 * averages[1] + (1 - beta2) * dw**2
    v_corrected, s_corrected = v / (1 - beta1**t), s / (1 - beta2**t)
    return w - alpha * v_corrected / (np.sqrt(s_corrected) + epsilon), (v, s)


def train(parameters, x, y, hidden, output, update, steps):
    """The parameters after that many steps of batch gradient descent, and the gradients of every step."""
    averages = [[(np.zeros_like(value),) * 2 for value in layer] for layer in parameters]
    history = []
    for t in range(1, steps + 1):
        a, caches = forward(x, parameters, hidden, output)
        history.append(backward(a, y, caches, parameters, hidden))
        moved = [
            [update(*three, t) for three in zip(*layer, strict=True)]
            for layer in zip(parameters, history[-1], averages, strict=True)
        ]
        parameters = [tuple(value for value, _ in layer) for layer in moved]
        averages = [[average for _, average in layer] for layer in moved]
    return parameters, history
