# cres in a container. This file was never built here: a test checks that what it names exists, no more.
#   docker build -t cres .                                                       (CPU)
#   docker build -t cres --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .   (CUDA; run with --gpus all)
#   docker run --rm -v "$PWD:/data" cres prep --input /data/raw --output /data/cres.hdf5
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN pip install torch --index-url ${TORCH_INDEX}

WORKDIR /opt/cres
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE constraints.txt ./
COPY configs ./configs
COPY src ./src
RUN pip install -c constraints.txt .

WORKDIR /data
ENTRYPOINT ["cres"]
CMD ["--help"]
