# docker build -t vitruvian . && docker run --rm -v "$PWD:/data" vitruvian doctor
FROM python:3.13-slim

# pip alone takes the CUDA build of PyTorch. For a smaller CPU image pass the index address that
# PyTorch's installation page names for CPU:  docker build --build-arg TORCH_INDEX=… .
ARG TORCH_INDEX=

RUN useradd --create-home vitruvian
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt \
      ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} '.[detect,exr]'

USER vitruvian
WORKDIR /data
ENTRYPOINT ["vitruvian"]
CMD ["--help"]
