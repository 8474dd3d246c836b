    def load_weights(self, path=WEIGHTS_FILE):
        """Takes the weights of a file that export, or save_weights, wrote. Every weight must be there, in its shape."""
        tensors, metadata = read_safetensors(path)
        state = self.state_dict(keep_vars=True)
        for name, key in WEIGHTS.items():
            if name not in tensors:
                raise ValueError(f"{path}: weight {name!r} is missing")
            if tensors[name].shape != state[key].shape:
                raise ValueError(f"{path}: weight {name!r} has shape {list(tensors[name].shape)}, the model has {list(state[key].shape)}")
        for name in tensors:
            if name not in WEIGHTS:
                raise ValueError(f"{path}: weight {name!r} is none of the model")
        if metadata.get("trconvert.model", MODEL) != MODEL:
            raise ValueError(f"{path}: the weights are those of model {metadata['trconvert.model']}, this is {MODEL}")
        with torch.no_grad():
            for name, key in WEIGHTS.items():
                state[key].copy_(tensors[name])
        self.metadata = metadata
        return self

    def weights(self):
        """The weights by the names that trconvert has for them."""
        state = self.state_dict()
        return {name: state[key] for name, key in WEIGHTS.items()}

    def save_weights(self, path=WEIGHTS_FILE):
        """Writes a file for trconvert import."""
        write_safetensors(path, self.weights(), self.metadata)


def load(path=WEIGHTS_FILE):
    """The model with the weights of a file, by default those beside this module, ready for inference."""
    return Model().load_weights(path).eval()
